// S7 uppercase: a line goes to the server and comes back in upper case, over
// TCP or, with -udp, over UDP.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

// coursePort is where the course's programs meet.
const coursePort = 12000

// maxPayload is the most that one UDP datagram can carry over IPv4: the
// 16-bit length of the IP packet (RFC 791) less 20 bytes of IP header and 8 of
// UDP header.
const maxPayload = 65535 - 20 - 8

// complaint begins an answer that is none. No answer to a line begins so: it
// has no lower-case letters.
const complaint = "error: "

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "uppercase",
		Summary: "A line goes to the server and comes back in upper case, over TCP or UDP.",
		Example: `
go run ./examples/sockets/uppercase server
go run ./examples/sockets/uppercase client -text "¡hola!"
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "answers each line with the line in upper case", Setup: server},
			{Name: "client", Summary: "sends lines, from -text or standard input, and prints the answers", Setup: client},
			{Name: "demo", Summary: "plays both ends, over TCP and over UDP", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// upper returns the answer to a line. It looks at whole characters of UTF-8:
// byte by byte, "ñ" would not change and half of it might.
func upper(line []byte) string {
	if bad := invalid(line); bad >= 0 {
		return fmt.Sprintf("%sbyte %d, %#02x, is not UTF-8", complaint, bad+1, line[bad])
	}
	return strings.ToUpper(string(line))
}

// invalid returns the position of the first byte that is not UTF-8, or -1.
func invalid(line []byte) int {
	for i := 0; i < len(line); {
		r, n := utf8.DecodeRune(line[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	udp := fs.Bool("udp", false, "serve UDP instead of TCP")
	limit := cli.Number(fs, "max", 8192, 1, maxPayload, "refuse lines of more `bytes`")
	idle := cli.Number(fs, "idle", time.Minute, time.Millisecond, 24*time.Hour, "close a TCP connection that is silent for this `time`")
	return func(ctx context.Context, env *cli.Env) error {
		var config net.ListenConfig
		if *udp {
			socket, err := config.ListenPacket(ctx, "udp", addr.String())
			if err != nil {
				return err
			}
			defer socket.Close()
			if err := env.Listening(socket.LocalAddr()); err != nil {
				return err
			}
			return serveUDP(ctx, socket.(*net.UDPConn), *limit, env)
		}
		ln, err := config.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		defer ln.Close()
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		return serveTCP(ctx, ln, *limit, *idle, env)
	}
}

// serveTCP serves each connection in a goroutine of its own. When ctx ends, a
// line that is on its way is still answered, within a second.
func serveTCP(ctx context.Context, ln net.Listener, limit int, idle time.Duration, env *cli.Env) error {
	s := &framing.Server{
		// TCP carries bytes, not lines: where one ends is for us to agree.
		Format: framing.Delimiter{Delim: "\n"},
		Config: framing.Config{MaxSize: limit, IdleTimeout: idle, ReadTimeout: idle},
		Handler: func(ctx context.Context, c *framing.Conn) error {
			peer := c.RemoteAddr().String()
			err := answerLines(ctx, c, limit, func(line []byte, answer string) {
				report(env, peer, line, answer)
			})
			switch cause := cli.CauseOf(err); {
			case err == nil:
				fmt.Fprintf(env.Stdout, "%s: goodbye\n", peer)
			case cause != cli.Unknown:
				fmt.Fprintf(env.Stdout, "%s: ended: %s\n", peer, cause)
			default:
				fmt.Fprintf(env.Stdout, "%s: ended: %v\n", peer, err)
			}
			return nil
		},
	}
	if err := s.Serve(ctx, ln); ctx.Err() == nil {
		return err
	}
	return nil // Ctrl-C: lines under way have been answered
}

// answerLines answers the lines of one connection to its clean end. What is
// wrong with a line is told to its sender, and the next one is read.
func answerLines(ctx context.Context, c *framing.Conn, limit int, done func(line []byte, answer string)) error {
	for line, err := range c.Messages(ctx) {
		var answer string
		switch {
		case err == nil:
			answer = upper(line)
		case errors.Is(err, framing.ErrTooLarge): // what is left of it is skipped
			answer = fmt.Sprintf("%sa line may have %d bytes at most", complaint, limit)
		case errors.Is(err, io.ErrUnexpectedEOF):
			// The client closed its direction; ours may still be open.
			answer = complaint + "the last line has no end"
		default:
			return err
		}
		if sendErr := c.Send(ctx, []byte(answer)); sendErr != nil {
			return sendErr
		}
		done(line, answer)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
	}
	return nil
}

// serveUDP answers datagrams until ctx ends: one socket for all clients, and
// no lines to find, since a datagram is a message.
func serveUDP(ctx context.Context, conn *net.UDPConn, limit int, env *cli.Env) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // wakes the read below
	defer stop()
	buf := make([]byte, 64<<10)
	for {
		n, client, err := conn.ReadFromUDPAddrPort(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
		case cli.CauseOf(err) == cli.Reset || cli.CauseOf(err) == cli.Refused:
			continue // Windows says here that an earlier answer found nobody
		default:
			return err
		}
		line := buf[:n]
		answer := upper(line)
		if n > limit {
			answer = fmt.Sprintf("%sa line may have %d bytes at most", complaint, limit)
		} else if len(answer) > maxPayload {
			// Some letters are longer in upper case: ɐ has two bytes, Ɐ three.
			answer = fmt.Sprintf("%sthe answer of %d bytes fits in no datagram", complaint, len(answer))
		}
		if _, err := conn.WriteToUDPAddrPort([]byte(answer), client); err != nil {
			if ctx.Err() == nil {
				fmt.Fprintf(env.Stderr, "answer lost: %s\n", cli.Explain(err))
			}
			continue
		}
		peer := netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
		report(env, peer.String(), line, answer)
	}
}

// report prints what the server did, the beginning of long lines only.
func report(env *cli.Env, peer string, line []byte, answer string) {
	if line == nil { // there was none to be had, and the answer says why
		fmt.Fprintf(env.Stdout, "%s: %s\n", peer, answer)
		return
	}
	fmt.Fprintf(env.Stdout, "%s: %s → %s\n", peer, brief(string(line)), brief(answer))
}

// brief quotes s, so that a stranger's bytes cannot command the terminal.
func brief(s string) string {
	const most = 40
	for i, n := 0, 0; i < len(s); n++ {
		if n == most {
			return fmt.Sprintf("%q…", s[:i])
		}
		_, size := utf8.DecodeRuneInString(s[i:])
		i += size
	}
	return fmt.Sprintf("%q", s)
}

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	udp := fs.Bool("udp", false, "speak UDP instead of TCP")
	text := fs.String("text", "", "send this one `line` instead of those of standard input")
	timeout := cli.Number(fs, "timeout", 5*time.Second, time.Millisecond, time.Hour, "wait this `time` for the connection and for each answer")
	return func(ctx context.Context, env *cli.Env) error {
		target, err := addr.Target()
		if err != nil {
			return err
		}
		network := "tcp"
		if *udp {
			network = "udp"
		}
		dialer := net.Dialer{Timeout: *timeout}
		conn, err := dialer.DialContext(ctx, network, target)
		if err != nil {
			return err
		}
		defer conn.Close()

		ask := overTCP(conn, *timeout)
		if *udp {
			ask = overUDP(conn, *timeout)
		}
		lines := cli.Lines(ctx, env.Stdin, maxPayload)
		if cli.Given(fs, "text") {
			lines = func(yield func(string, error) bool) { yield(*text, nil) }
		}
		for line, err := range lines {
			if err != nil {
				return err
			}
			answer, err := ask(ctx, line)
			if err != nil {
				return err
			}
			if why, bad := strings.CutPrefix(answer, complaint); bad {
				return fmt.Errorf("%s refuses the line: %s", conn.RemoteAddr(), printable(why))
			}
			if _, err := fmt.Fprintln(env.Stdout, printable(answer)); err != nil {
				return err
			}
		}
		return nil
	}
}

// overTCP returns a function that sends a line and returns the answer.
func overTCP(conn net.Conn, timeout time.Duration) func(ctx context.Context, line string) (string, error) {
	c := framing.NewConn(conn, framing.Delimiter{Delim: "\n"}, &framing.Config{
		IdleTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout,
	})
	return func(ctx context.Context, line string) (string, error) {
		if err := c.Send(ctx, []byte(line)); err != nil {
			return "", err
		}
		answer, err := c.Receive(ctx)
		if err == io.EOF {
			err = fmt.Errorf("no answer from %s: %w", conn.RemoteAddr(), err)
		}
		return string(answer), err
	}
}

// overUDP returns a function that sends a line as a datagram and returns the
// datagram that answers it. A lost one is not sent again: that is for S2.
func overUDP(conn net.Conn, timeout time.Duration) func(ctx context.Context, line string) (string, error) {
	buf := make([]byte, 64<<10)
	return func(ctx context.Context, line string) (string, error) {
		if _, err := conn.Write([]byte(line)); err != nil {
			return "", err
		}
		if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
			return "", err
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		n, err := conn.Read(buf)
		if cli.CauseOf(err) == cli.TimedOut {
			return "", fmt.Errorf("no answer from %s within %v: the line, its answer or the server got lost, UDP does not say which", conn.RemoteAddr(), timeout)
		}
		return string(buf[:n]), err
	}
}

// printable takes control characters, other than tabs, out of what a stranger
// sent: they could command the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' {
			return -1
		}
		return r
	}, s)
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		for _, more := range [][]string{nil, {"-udp"}} {
			srv, err := env.Start(ctx, append([]string{"server", "-port", "0", "-max", "40"}, more...)...)
			if err != nil {
				return err
			}
			defer srv.Stop()
			toServer := append([]string{"client", "-port", srv.Port()}, more...)
			out, err := env.Play(ctx, "¡hola, zócalo!\nñandú, žluťoučký, ελληνικά\n", toServer...)
			if err != nil {
				return err
			}
			if want := "¡HOLA, ZÓCALO!\nÑANDÚ, ŽLUŤOUČKÝ, ΕΛΛΗΝΙΚΆ\n"; out != want {
				return fmt.Errorf("%q came back, not %q", out, want)
			}
			// One client's bad line is its own trouble, not the server's.
			_, err = env.Play(ctx, strings.Repeat("too long ", 5)+"\n", toServer...)
			if err == nil {
				return errors.New("a line over the limit was answered")
			}
			fmt.Fprintf(env.Stdout, "  client: %s\n", cli.Explain(err))
			if out, err = env.Play(ctx, "", append(toServer, "-text", "still there?")...); err != nil {
				return err
			} else if out != "STILL THERE?\n" {
				return fmt.Errorf("%q came back", out)
			}
			if err := srv.Stop(); err != nil {
				return err
			}
		}
		return nil
	}
}
