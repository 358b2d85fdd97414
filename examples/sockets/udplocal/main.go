// S1 udplocal: a client and a server on one machine talk over UDP. Each line
// that the client sends travels as one datagram; the server prints whence it
// came and what it held, and answers with its length in bytes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// coursePort is where the course's programs meet.
const coursePort = 1060

// maxPayload is the most that one UDP datagram can carry over IPv4: the
// 16-bit length of the IP packet (RFC 791) less 20 bytes of IP header and 8 of
// UDP header.
const maxPayload = 65535 - 20 - 8

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "udplocal",
		Summary: "UDP on one machine: a line goes out, its length in bytes comes back.",
		Example: `
go run ./examples/sockets/udplocal server
go run ./examples/sockets/udplocal client -text "hola"
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "prints each datagram and answers with its length", Setup: server},
			{Name: "client", Summary: "sends lines, from -text or standard input, each as a datagram", Setup: client},
			{Name: "demo", Summary: "plays a server and two clients", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	return func(ctx context.Context, env *cli.Env) error {
		var config net.ListenConfig
		socket, err := config.ListenPacket(ctx, "udp", addr.String())
		if err != nil {
			return err
		}
		conn := socket.(*net.UDPConn)
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { conn.Close() }) // wakes the read below
		defer stop()
		if err := env.Listening(conn.LocalAddr()); err != nil {
			return err
		}
		return serve(ctx, conn, env)
	}
}

// serve answers datagrams until ctx ends. One socket hears all clients: there
// are no connections to keep apart, every datagram brings its sender's address.
func serve(ctx context.Context, conn *net.UDPConn, env *cli.Env) error {
	// A read into a buffer that is too short loses the rest of the datagram
	// without a word. No datagram is longer than this.
	buf := make([]byte, 64<<10)
	for {
		n, client, err := conn.ReadFromUDPAddrPort(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
		case cli.CauseOf(err) == cli.Reset || cli.CauseOf(err) == cli.Refused:
			// Windows reports here that an earlier answer found nobody.
			// That client is gone; the others are not.
			continue
		default:
			return err
		}
		client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
		// Quoted: what a stranger sends must not reach the terminal as
		// control characters.
		fmt.Fprintf(env.Stdout, "address %s, port %d: %q (%d bytes)\n", client.Addr(), client.Port(), buf[:n], n)
		if _, err := conn.WriteToUDPAddrPort([]byte(strconv.Itoa(n)), client); err != nil && ctx.Err() == nil {
			fmt.Fprintf(env.Stderr, "answer lost: %s\n", cli.Explain(err))
		}
	}
}

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	text := fs.String("text", "", "send this one `line` instead of those of standard input")
	timeout := cli.Number(fs, "timeout", 2*time.Second, time.Millisecond, time.Hour, "wait this `time` for each answer")
	return func(ctx context.Context, env *cli.Env) error {
		target, err := addr.Target()
		if err != nil {
			return err
		}
		var dialer net.Dialer
		// A connected UDP socket. Nothing is sent yet: the kernel only notes
		// the peer, lets in nobody else's datagrams, and reports to us if the
		// peer's machine says that nobody listens there.
		conn, err := dialer.DialContext(ctx, "udp", target)
		if err != nil {
			return err
		}
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		fmt.Fprintf(env.Stdout, "from %s to %s\n", conn.LocalAddr(), conn.RemoteAddr())

		lines := cli.Lines(ctx, env.Stdin, maxPayload)
		if cli.Given(fs, "text") {
			lines = func(yield func(string, error) bool) { yield(*text, nil) }
		}
		for line, err := range lines {
			if err == nil {
				err = exchange(conn, line, *timeout, env.Stdout)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// exchange sends one line as a datagram and prints the answer.
func exchange(conn net.Conn, line string, timeout time.Duration, out io.Writer) error {
	if len(line) > maxPayload {
		return fmt.Errorf("cannot send %d bytes: a UDP datagram carries at most %d", len(line), maxPayload)
	}
	if _, err := conn.Write([]byte(line)); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	answer := make([]byte, 64<<10)
	n, err := conn.Read(answer)
	if err != nil {
		if cli.CauseOf(err) == cli.TimedOut {
			return fmt.Errorf("no answer from %s within %v: the line, its answer or the server got lost, UDP does not say which", conn.RemoteAddr(), timeout)
		}
		return err
	}
	if _, err := fmt.Fprintf(out, "sent %d bytes, answer %q\n", len(line), answer[:n]); err != nil {
		return err
	}
	// A server in the manner of the course answers with a sentence, which
	// cannot be checked; ours answers with the bare number.
	if counted, err := strconv.Atoi(string(answer[:n])); err == nil && counted != len(line) {
		return fmt.Errorf("%s received %d bytes of %d", conn.RemoteAddr(), counted, len(line))
	}
	return nil
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		srv, err := env.Start(ctx, "server", "-port", "0")
		if err != nil {
			return err
		}
		defer srv.Stop()
		out, err := env.Play(ctx, "", "client", "-port", srv.Port(), "-text", "¡Hola, Zócalo!")
		if err != nil {
			return err
		}
		if !strings.Contains(out, "sent 16 bytes, answer \"16\"") {
			return fmt.Errorf("14 characters, two of them of two bytes, should be 16 bytes; the client said %q", out)
		}
		// Another program, another port: and an empty line is a datagram too.
		out, err = env.As("client 2").Play(ctx, "one\n\nthree\n", "client", "-port", srv.Port())
		if err != nil {
			return err
		}
		if answers := strings.Count(out, "answer "); answers != 3 {
			return fmt.Errorf("%d answers to 3 lines", answers)
		}
		if err := srv.Stop(); err != nil {
			return err
		}
		// Now nobody listens there any more, and the kernel says so.
		_, err = env.As("client 3").Play(ctx, "", "client", "-port", srv.Port(), "-text", "anybody?")
		if err == nil {
			return errors.New("an answer although the server has stopped")
		}
		_, err = fmt.Fprintf(env.Stdout, "  client 3: %s\n", cli.Explain(err))
		return err
	}
}
