package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	s := &echoServer{}
	most := cli.Number(fs, "clients", 256, 1, 100_000, "serve so `many` TCP clients at a time; more must wait")
	idle := cli.Number(fs, "idle", time.Minute, time.Millisecond, 24*time.Hour, "close a TCP connection that sends nothing for this `time`")
	stall := cli.Number(fs, "stall", 10*time.Second, time.Millisecond, 24*time.Hour, "break off a TCP connection that does not take its echo for this `time`")
	pcap := fs.String("pcap", "", "write the packets to and from this server to `file`, where the system permits")
	return func(ctx context.Context, env *cli.Env) (err error) {
		s.env, s.most, s.idle, s.stall = env, *most, *idle, *stall
		ln, socket, err := listenBoth(ctx, addr)
		if err != nil {
			return err
		}
		defer ln.Close()
		defer socket.Close()
		// Before the first client can know of us, so that nothing is missed.
		heard, why, err := captureIfAsked(*pcap, ln.Addr())
		if err != nil {
			return err
		}
		if heard != nil {
			defer func() { err = errors.Join(err, heard.stop(env)) }()
		}
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		if why != nil {
			fmt.Fprintln(env.Stderr, why)
		}
		return s.serve(ctx, ln, socket)
	}
}

// captureIfAsked starts a capture if there is a name for its file. That it is
// not permitted is no failure, only a reason to give.
func captureIfAsked(name string, server net.Addr) (c *capture, why, err error) {
	if name == "" {
		return nil, nil, nil
	}
	c, err = startCapture(name, server)
	if errors.Is(err, errNoCapture) {
		return nil, err, nil
	}
	return c, nil, err
}

// listenBoth opens a TCP and a UDP socket on the same port number. The two
// kinds of port are counted apart: that one is free says nothing of the other.
func listenBoth(ctx context.Context, addr *cli.Addr) (net.Listener, *net.UDPConn, error) {
	const attempts = 50
	var config net.ListenConfig
	for n := 1; ; n++ {
		ln, err := config.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return nil, nil, err
		}
		socket, err := config.ListenPacket(ctx, "udp", ln.Addr().String())
		if err == nil {
			return ln, socket.(*net.UDPConn), nil
		}
		ln.Close()
		if addr.Port != 0 || n == attempts {
			return nil, nil, err
		}
	}
}

// An echoServer is what the two services have in common.
type echoServer struct {
	env         *cli.Env
	most        int
	idle, stall time.Duration

	mu                sync.Mutex
	now, peak, served int // TCP clients
	datagrams         int
}

// serve runs both services until ctx ends.
func (s *echoServer) serve(ctx context.Context, ln net.Listener, socket *net.UDPConn) error {
	both, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { cancel(s.serveTCP(both, ln)) })
	wg.Go(func() { cancel(s.serveUDP(both, socket)) })
	wg.Wait()
	if ctx.Err() == nil {
		return context.Cause(both) // of the one that failed
	}
	_, err := fmt.Fprintf(s.env.Stdout, "tcp: %s, up to %d at once, each on a socket of its own; udp: %s on one socket\n",
		count(s.served, "client"), s.peak, count(s.datagrams, "datagram"))
	return err
}

// serveTCP serves each client in a goroutine and on a socket of its own, which
// is how the system tells them apart: ln only brings the new ones.
func (s *echoServer) serveTCP(ctx context.Context, ln net.Listener) error {
	srv := &framing.Server{
		MaxConns: s.most,
		Handler: func(_ context.Context, c *framing.Conn) error {
			// An echo has no messages: bytes come back as they come. This ctx
			// ends when the server is told to stop, the handler's own only
			// when it has lost patience.
			s.serveClient(ctx, c.Stream().(*net.TCPConn))
			return nil
		},
	}
	if err := srv.Serve(ctx, ln); ctx.Err() == nil {
		return err
	}
	return nil // told to stop
}

// serveClient echoes one connection to its end and says how that came.
func (s *echoServer) serveClient(ctx context.Context, conn *net.TCPConn) {
	s.mu.Lock()
	s.now++
	s.served++
	s.peak = max(s.peak, s.now)
	s.mu.Unlock()
	n, err := s.echo(ctx, conn)
	s.mu.Lock()
	s.now--
	s.mu.Unlock()

	end := "the client has finished"
	switch cause := cli.CauseOf(err); {
	case err == nil:
	case errors.Is(err, errStopping):
		end = "this server stops"
	case errors.Is(err, errIdle), errors.Is(err, errStall):
		end = err.Error()
	case cause != cli.Unknown:
		end = string(cause)
	default:
		end = err.Error()
	}
	fmt.Fprintf(s.env.Stdout, "tcp %s: %s back; %s\n", conn.RemoteAddr(), count(int(n), "byte"), end)
}

var (
	errStopping = errors.New("the server stops")
	errIdle     = errors.New("it sent nothing for too long")
	errStall    = errors.New("it did not take its echo for too long")
)

// echo sends back what conn brings, until its client has closed its direction,
// and returns how many bytes it has sent. What it holds is never more than one
// buffer: while a client does not read, it is not read from either, and the
// system's buffers fill up as far as the client's own.
func (s *echoServer) echo(ctx context.Context, conn *net.TCPConn) (sent int64, err error) {
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) }) // wakes the read below
	defer stop()
	buf := make([]byte, 16<<10)
	for {
		conn.SetReadDeadline(time.Now().Add(s.idle))
		if ctx.Err() != nil { // looked at after the deadline was moved
			return sent, errStopping
		}
		n, rerr := conn.Read(buf)
		if n > 0 {
			conn.SetWriteDeadline(time.Now().Add(s.stall))
			done, err := conn.Write(buf[:n])
			sent += int64(done)
			if cli.CauseOf(err) == cli.TimedOut {
				// Close would go on offering what is left, unread, for
				// minutes: with linger 0 it breaks the connection off.
				conn.SetLinger(0)
				conn.Close()
				return sent, errStall
			}
			if err != nil {
				return sent, err
			}
		}
		switch {
		case rerr == nil:
		case rerr == io.EOF:
			return sent, nil // everything is sent: closing says so
		case ctx.Err() != nil:
			return sent, errStopping
		case cli.CauseOf(rerr) == cli.TimedOut:
			return sent, errIdle
		default:
			return sent, rerr
		}
	}
}

// serveUDP answers the datagrams of all clients on one socket, one after the
// other. Each brings its sender's address, and that is all there is to know of
// a client: nothing is kept, nobody has to say goodbye.
func (s *echoServer) serveUDP(ctx context.Context, socket *net.UDPConn) error {
	stop := context.AfterFunc(ctx, func() { socket.Close() }) // wakes the read below
	defer stop()
	own := socket.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	buf := make([]byte, 64<<10) // no datagram is longer
	for {
		n, client, err := socket.ReadFromUDPAddrPort(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
		case cli.CauseOf(err) == cli.Reset || cli.CauseOf(err) == cli.Refused:
			continue // Windows says here that an earlier echo found nobody
		default:
			return err
		}
		client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
		if isService(client.Port(), own) {
			fmt.Fprintf(s.env.Stdout, "udp %s: not answered: its port is a server's\n", client)
			continue
		}
		if _, err := socket.WriteToUDPAddrPort(buf[:n], client); err != nil {
			if ctx.Err() == nil {
				fmt.Fprintf(s.env.Stderr, "udp %s: no echo: %s\n", client, cli.Explain(err))
			}
			continue
		}
		s.mu.Lock()
		s.datagrams++
		s.mu.Unlock()
		fmt.Fprintf(s.env.Stdout, "udp %s: %s back\n", client, count(n, "byte"))
	}
}

// isService reports whether a datagram comes from a port where servers live.
// One with a forged sender could otherwise set two echo servers on each other,
// and they would never stop.
func isService(port, own uint16) bool { return port < 1024 || port == own }
