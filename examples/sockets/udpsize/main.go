// S5 udpsize: a message of a size that nobody has announced goes out as one
// datagram; the server prints the client's address and the message, and
// answers with the size that it received. A buffer that is too short shows
// what happens to the rest.
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

// The most that one UDP datagram can carry: the 16-bit length in the header of
// IPv4 (RFC 791) counts that header's 20 bytes, the one of IPv6 (RFC 8200)
// does not count its own; both count the 8 of UDP's header.
const (
	most4 = 65535 - 20 - 8
	most6 = 65535 - 8
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "udpsize",
		Summary: "A message of unstated size over UDP; the answer is the size that was received.",
		Example: `
go run ./examples/sockets/udpsize server
go run ./examples/sockets/udpsize client -text "hola"
go run ./examples/sockets/udpsize client < README.md
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "prints each client's address and message and answers with the size", Setup: server},
			{Name: "client", Summary: "sends one message, from -text or all of standard input, and prints the answer", Setup: client},
			{Name: "demo", Summary: "messages of several sizes to a server, and to one whose buffer is short", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	size := cli.Number(fs, "buffer", 65535, 1, 65535, "read into a buffer of this many `bytes`; what is longer loses its end")
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
		return serve(ctx, conn, *size, env)
	}
}

// serve answers datagrams until ctx ends.
func serve(ctx context.Context, conn *net.UDPConn, size int, env *cli.Env) error {
	buf := make([]byte, size)
	for {
		n, client, err := conn.ReadFromUDPAddrPort(buf)
		switch cause := cli.CauseOf(err); {
		case ctx.Err() != nil:
			return nil
		case err == nil:
		case cause == cli.TooLong: // Windows says so when the buffer was too short, Unix does not
		case cause == cli.Reset || cause == cli.Refused:
			continue // Windows says here that an earlier answer found nobody
		default:
			return err
		}
		client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
		// Quoted: what a stranger sends must not reach the terminal as
		// control characters.
		fmt.Fprintf(env.Stdout, "%s sent %q (%d bytes)\n", client, buf[:n], n)
		if _, err := conn.WriteToUDPAddrPort([]byte(strconv.Itoa(n)), client); err != nil && ctx.Err() == nil {
			fmt.Fprintf(env.Stderr, "answer lost: %s\n", cli.Explain(err))
		}
	}
}

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	text := fs.String("text", "", "send this `message` instead of standard input")
	timeout := cli.Number(fs, "timeout", 2*time.Second, time.Millisecond, time.Hour, "wait this `time` for the answer")
	return func(ctx context.Context, env *cli.Env) error {
		target, err := addr.Target()
		if err != nil {
			return err
		}
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "udp", target)
		if err != nil {
			return err
		}
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { conn.Close() }) // wakes the read in ask
		defer stop()
		fmt.Fprintf(env.Stdout, "from %s to %s\n", conn.LocalAddr(), conn.RemoteAddr())

		message := []byte(*text)
		if !cli.Given(fs, "text") {
			if message, err = io.ReadAll(io.LimitReader(cli.Interruptible(ctx, env.Stdin), most6+1)); err != nil {
				return err
			}
		}
		size, err := ask(conn, message, *timeout)
		if err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "sent %d bytes, the server received %d\n", len(message), size)
		if size < len(message) {
			return fmt.Errorf("the last %d bytes are lost: the server's buffer is too short", len(message)-size)
		}
		return nil
	}
}

// ask sends a message and returns the size that the server says it received.
func ask(conn net.Conn, message []byte, timeout time.Duration) (int, error) {
	most := most4
	if conn.RemoteAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().Is6() {
		most = most6
	}
	if len(message) > most {
		return 0, fmt.Errorf("the message is longer than the %d bytes that a UDP datagram can carry to %s", most, conn.RemoteAddr())
	}
	if _, err := conn.Write(message); err != nil {
		return 0, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return 0, err
	}
	var answer [64]byte // five digits are to come; more than 64 bytes are no answer
	n, err := conn.Read(answer[:])
	if cli.CauseOf(err) == cli.TimedOut {
		return 0, fmt.Errorf("no answer from %s within %v: the message or the answer got lost, UDP does not say which", conn.RemoteAddr(), timeout)
	}
	if err != nil && cli.CauseOf(err) != cli.TooLong {
		return 0, err
	}
	size, ok := parseSize(string(answer[:n]))
	if !ok || size > len(message) {
		return 0, fmt.Errorf("%s answers %q to %d bytes", conn.RemoteAddr(), answer[:n], len(message))
	}
	return size, nil
}

// parseSize reads a size as servers write it: decimal digits and nothing else.
func parseSize(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return int(n), err == nil && strconv.FormatUint(n, 10) == s
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		srv, err := env.Start(ctx, "server", "-port", "0")
		if err != nil {
			return err
		}
		defer srv.Stop()
		for _, message := range []string{"¡Hola, Zócalo!", "two lines\nare one message\n", ""} {
			out, err := env.Play(ctx, message, "client", "-port", srv.Port())
			if err != nil {
				return err
			}
			if want := fmt.Sprintf("sent %d bytes, the server received %[1]d\n", len(message)); !strings.HasSuffix(out, want) {
				return fmt.Errorf("the client said %q, which does not end in %q", out, want)
			}
		}
		if err := srv.Stop(); err != nil {
			return err
		}
		if srv, err = env.Start(ctx, "server", "-port", "0", "-buffer", "4"); err != nil {
			return err
		}
		defer srv.Stop()
		_, err = env.Play(ctx, "", "client", "-port", srv.Port(), "-text", "hola y adiós")
		if err == nil || !strings.Contains(err.Error(), "the last 9 bytes are lost") {
			return errors.Join(errors.New("nine of thirteen bytes should have got lost"), err)
		}
		fmt.Fprintf(env.Stdout, "  client: %s\n", cli.Explain(err))
		return srv.Stop()
	}
}
