package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// A stage is a client and a server over loopback, whose states are read from
// the system's table after each step.
type stage struct {
	out            io.Writer
	client, server *net.TCPConn
	ln             *net.TCPListener
	names          [2]netip.AddrPort // of the client and of the server
}

// settle is how long a state may take to appear. Nearly all are there at once;
// where buffers must be drained TCP's own timers take part.
const settle = 5 * time.Second

func life(fs *flag.FlagSet) cli.Action {
	host := hostFlag(fs)
	return func(ctx context.Context, env *cli.Env) error {
		addr, err := host()
		if err != nil {
			return err
		}
		if _, err := readTable(ctx); err != nil {
			return fmt.Errorf("%w: %w", errNoTable, err)
		}
		for _, act := range []struct {
			title string
			play  func(context.Context, *stage) error
		}{
			{"The handshake", openSlowly},
			{"The client closes first", closePolitely},
			{"The same, while the server still has data to send", closeWithData},
			{"Both close at once, with data under way in both directions", closeTogether},
		} {
			s := &stage{out: env.Stdout}
			if err := s.listen(ctx, addr); err != nil {
				return err
			}
			fmt.Fprintf(env.Stdout, "%-58s  %-12s  %s\n", act.title, "client", "server")
			err := act.play(ctx, s)
			s.close()
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", act.title, err)
			}
		}
		return nil
	}
}

// hostFlag declares -host. The function that it returns gives the address to
// listen on: that host and any port.
func hostFlag(fs *flag.FlagSet) func() (string, error) {
	addr := cli.AddrFlags(fs, 0)
	return func() (string, error) {
		if addr.Port != 0 {
			return "", cli.Usagef("-port has no meaning here: the system picks one for each try")
		}
		if a, err := netip.ParseAddr(addr.Host); err == nil && a.IsUnspecified() {
			return "", cli.Usagef("-host must be one address here: %s stands for all", a)
		}
		return addr.String(), nil
	}
}

func (s *stage) listen(ctx context.Context, addr string) error {
	var config net.ListenConfig
	ln, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	s.ln = ln.(*net.TCPListener)
	s.names[1] = nameOf(ln.Addr())
	return nil
}

func nameOf(addr net.Addr) netip.AddrPort {
	name := addr.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(name.Addr().Unmap(), name.Port())
}

func (s *stage) close() {
	for _, conn := range []*net.TCPConn{s.client, s.server} {
		if conn != nil {
			conn.Close()
		}
	}
	s.ln.Close()
}

// connect opens the connection on both sides.
func (s *stage) connect(ctx context.Context) error {
	if err := s.dial(ctx); err != nil {
		return err
	}
	return s.accept()
}

func (s *stage) dial(ctx context.Context) error {
	dialer := net.Dialer{Timeout: settle}
	conn, err := dialer.DialContext(ctx, "tcp", s.ln.Addr().String())
	if err != nil {
		return err
	}
	s.client = conn.(*net.TCPConn)
	s.names[0] = nameOf(conn.LocalAddr())
	return nil
}

func (s *stage) accept() error {
	if err := s.ln.SetDeadline(time.Now().Add(settle)); err != nil {
		return err
	}
	for {
		conn, err := s.ln.AcceptTCP()
		if err != nil {
			return err
		}
		if nameOf(conn.RemoteAddr()) == s.names[0] {
			s.server = conn
			return nil
		}
		conn.Close() // a stranger
	}
}

// show waits until both sides are in these states and prints what was done and
// what has become of it. On a system that does it another way it prints what
// there is after a while.
func (s *stage) show(ctx context.Context, done, client, server string) error {
	for began := time.Now(); ; {
		rows, err := ofName(ctx, s.names[1])
		if err != nil {
			return err
		}
		gotClient := stateOf(rows, s.names[0], s.names[1])
		gotServer := stateOf(rows, s.names[1], s.names[0])
		same := gotClient == client && gotServer == server
		if same || time.Since(began) > settle {
			note := ""
			if !same {
				note = fmt.Sprintf("  (%s and %s by the book)", client, server)
			}
			_, err := fmt.Fprintf(s.out, "  %-56s  %-12s  %s%s\n", done, gotClient, gotServer, note)
			return err
		}
		if err := sleep(ctx, poll); err != nil {
			return err
		}
	}
}

// fill writes until nothing more is taken: both kernels' buffers are full.
func fill(conn *net.TCPConn) error {
	piece := make([]byte, 64<<10)
	for {
		if err := conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			return err
		}
		n, err := conn.Write(piece)
		if errors.Is(err, os.ErrDeadlineExceeded) && n == 0 {
			return nil
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// drain reads to the end of the stream.
func drain(conn *net.TCPConn) error {
	if err := conn.SetReadDeadline(time.Now().Add(settle)); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, conn)
	return err
}

// openSlowly shows what passes too quickly otherwise.
func openSlowly(ctx context.Context, s *stage) error {
	rows, err := ofName(ctx, s.names[1])
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "  %-56s  %-12s  %s\n", "the server listens", closed, stateOf(rows, s.names[1], netip.AddrPortFrom(unspecified(s.names[1].Addr()), 0)))

	// No answer to SYN: the queue of a server that accepts nobody is full.
	full, err := overfill(ctx, netip.AddrPortFrom(s.names[1].Addr(), 0).String(), 0, nil)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		fmt.Fprintln(s.out, "  (no SYN-SENT: a full queue does not keep clients waiting here)")
	case err != nil:
		return err
	default:
		names := [2]netip.AddrPort{full.waiting, nameOf(full.ln.Addr())}
		silent := &stage{out: s.out, names: names}
		err := silent.show(ctx, "SYN goes out, and a busy server is silent", synSent, closed)
		full.close()
		if err != nil {
			return err
		}
	}

	// No end to the handshake: the server wants to see data first.
	err = control(s.ln, deferAccept)
	if err == nil {
		if err := s.dial(ctx); err != nil {
			return err
		}
		if err := s.show(ctx, "the last ACK of the handshake is ignored", established, synReceived); err != nil {
			return err
		}
		if _, err := s.client.Write([]byte("hola")); err != nil {
			return err
		}
		err = s.accept()
	} else if errors.Is(err, errors.ErrUnsupported) {
		fmt.Fprintln(s.out, "  (no SYN-RECEIVED: only Linux can be told to stay in it)")
		err = s.connect(ctx)
	}
	if err != nil {
		return err
	}
	return s.show(ctx, "connected", established, established)
}

// closePolitely is how most connections end.
func closePolitely(ctx context.Context, s *stage) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	return steps(ctx, s, []step{
		{"connected", nil, established, established},
		{"the client closes: FIN", s.client.CloseWrite, finWait2, closeWait},
		{"the server closes: FIN", s.server.Close, timeWait, closed},
	})
}

// closeWithData shows the server in LAST-ACK for longer than an instant: its FIN
// stands in the queue behind data that the client does not read.
func closeWithData(ctx context.Context, s *stage) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	return steps(ctx, s, []step{
		{"the server writes, the client does not read", func() error { return fill(s.server) }, established, established},
		{"the client closes: FIN", s.client.CloseWrite, finWait2, closeWait},
		{"the server closes: FIN behind the data", s.server.CloseWrite, finWait2, lastAck},
		{"the client reads to the end", func() error { return drain(s.client) }, timeWait, closed},
	})
}

// closeTogether leads through the states that hardly anybody ever sees.
func closeTogether(ctx context.Context, s *stage) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	return steps(ctx, s, []step{
		{"both write, nobody reads", func() error {
			filled := make(chan error, 1)
			go func() { filled <- fill(s.client) }()
			return errors.Join(fill(s.server), <-filled)
		}, established, established},
		{"the client closes: FIN behind the data", s.client.CloseWrite, finWait1, established},
		{"the server closes: FIN behind the data", s.server.CloseWrite, finWait1, finWait1},
		{"the client reads to the server's FIN", func() error { return drain(s.client) }, closing, finWait2},
		{"the server reads to the client's FIN", func() error { return drain(s.server) }, timeWait, timeWait},
	})
}

// A step is something to do, and the states that come of it.
type step struct {
	what           string
	do             func() error
	client, server string
}

func steps(ctx context.Context, s *stage, list []step) error {
	for _, step := range list {
		if step.do != nil {
			if err := step.do(); err != nil {
				return fmt.Errorf("%s: %w", step.what, err)
			}
		}
		if err := s.show(ctx, step.what, step.client, step.server); err != nil {
			return err
		}
	}
	return nil
}
