package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
	"unicode"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

// A peer is the server, as its clients see it.
type peer struct {
	conn    *framing.Conn
	addr    string
	timeout time.Duration
}

// connect connects to the server and says from where.
func connect(ctx context.Context, addr *cli.Addr, limit int, timeout time.Duration, out io.Writer) (*peer, error) {
	target, err := addr.Target()
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: timeout}
	conn, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(out, "from %s to %s\n", conn.LocalAddr(), conn.RemoteAddr()); err != nil {
		conn.Close()
		return nil, err
	}
	return &peer{
		conn: framing.NewConn(conn, nil, &framing.Config{ // nil: four bytes of length, big-endian
			MaxSize: limit + 1, ReadTimeout: timeout, WriteTimeout: timeout,
		}),
		addr:    conn.RemoteAddr().String(),
		timeout: timeout,
	}, nil
}

// expect waits for a message of that kind, or the server's reason why there is
// none, and returns its text.
func (p *peer) expect(ctx context.Context, kind byte, wait time.Duration) ([]byte, error) {
	late, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	msg, err := p.conn.Receive(late)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case late.Err() != nil && errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("nothing from %s within %v", p.addr, wait)
	case errors.Is(err, framing.ErrTooLarge):
		return nil, fmt.Errorf("%s has a longer message than -max allows", p.addr)
	case err == io.EOF:
		return nil, fmt.Errorf("no answer from %s: %w", p.addr, err)
	case err != nil:
		return nil, err
	case len(msg) > 0 && msg[0] == kindError:
		return nil, fmt.Errorf("%s: %.300s", p.addr, printable(string(msg[1:])))
	case len(msg) == 0 || msg[0] != kind:
		return nil, fmt.Errorf("%s sends %.20q instead of a message of the kind %q", p.addr, msg, kind)
	}
	return msg[1:], nil
}

func receiver(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	wait := cli.Number(fs, "wait", time.Minute, time.Millisecond, 24*time.Hour, "wait this `time` for a message")
	limit := cli.Number(fs, "max", maxText, 0, 64<<20, "take texts of at most so many `bytes`")
	timeout := cli.Number(fs, "timeout", 5*time.Second, time.Millisecond, time.Hour, "wait this `time` for the connection, and for each step of the server")
	return func(ctx context.Context, env *cli.Env) error {
		p, err := connect(ctx, addr, max(*limit, 300), *timeout, env.Stdout) // the server's reasons must fit
		if err != nil {
			return err
		}
		defer p.conn.Close()
		if err := p.conn.Send(ctx, message(kindReceive, nil)); err != nil {
			return err
		}
		text, err := p.expect(ctx, kindMessage, *wait)
		if err != nil {
			return err
		}
		if len(text) > *limit {
			return fmt.Errorf("%s has a longer message than -max allows", p.addr)
		}
		// Only what has been printed is kept: if this fails, the sender hears
		// that it is not known whether we have it.
		if _, err := fmt.Fprintln(env.Stdout, printable(string(text))); err != nil {
			return err
		}
		return p.conn.Send(ctx, message(kindKept, nil))
	}
}

func sender(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	text := fs.String("text", "", "the `message`, instead of standard input")
	wait := cli.Number(fs, "wait", time.Minute, time.Millisecond, 24*time.Hour, "wait this `time` until the message is delivered")
	limit := cli.Number(fs, "max", maxText, 0, 64<<20, "send at most so many `bytes`; the server has a limit of its own")
	timeout := cli.Number(fs, "timeout", 5*time.Second, time.Millisecond, time.Hour, "wait this `time` for the connection, and for each step of the server")
	return func(ctx context.Context, env *cli.Env) error {
		p, err := connect(ctx, addr, 300, *timeout, env.Stdout)
		if err != nil {
			return err
		}
		defer p.conn.Close()
		var source io.Reader = strings.NewReader(*text)
		if !cli.Given(fs, "text") {
			source = cli.Interruptible(ctx, env.Stdin)
		}
		// The length goes first, so that all of it must be here before.
		whole, err := io.ReadAll(io.LimitReader(source, int64(*limit)+1))
		if err != nil {
			return fmt.Errorf("reading the message: %w", err)
		}
		if len(whole) > *limit {
			return fmt.Errorf("reading the message: more than the %d bytes that -max allows", *limit)
		}
		sendErr := p.conn.Send(ctx, message(kindSend, whole))
		// Even if it took only some of it, the server may have said why.
		_, err = p.expect(ctx, kindDelivered, *wait)
		if err != nil {
			if sendErr != nil && cli.CauseOf(err) != cli.Unknown {
				return sendErr
			}
			return err
		}
		_, err = fmt.Fprintf(env.Stdout, "%d bytes delivered\n", len(whole))
		return err
	}
}

// printable takes control characters, other than tabs and ends of lines, out of
// what a stranger sent: they could command the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' && r != '\n' {
			return -1
		}
		return r
	}, s)
}
