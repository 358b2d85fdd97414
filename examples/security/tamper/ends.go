package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"net"
	"sync"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

const (
	maxText     = 8192
	maxMessage  = headerSize + maxText + 64
	maxMessages = 10_000 // that a server takes in one connection
)

// transmit sends texts, protected, and then the end, and returns what the other
// side says about it, for which nobody vouches.
func transmit(ctx context.Context, c *framing.Conn, p protection, k *keys, texts iter.Seq2[string, error], sent func(number uint32, text string, msg []byte)) (verdict string, err error) {
	greeting, err := c.Receive(ctx)
	if err != nil {
		return "", fmt.Errorf("no greeting: %w", err)
	}
	if len(greeting) != challengeSize {
		return "", fmt.Errorf("a greeting of %d bytes, want %d", len(greeting), challengeSize)
	}
	challenge := append([]byte(nil), greeting...)
	number := uint32(0)
	send := func(kind byte, text string) error {
		number++
		msg, err := seal(p, k, challenge, header(p, kind, number), []byte(text))
		if err != nil {
			return err
		}
		if kind == kindText {
			sent(number, text, msg)
		}
		return c.Send(ctx, msg)
	}
	for text, err := range texts {
		if err != nil {
			return "", err
		}
		if err := send(kindText, text); err != nil {
			return "", err
		}
	}
	// Without an end of its own, whoever cuts the connection after a message
	// of his choice would not be noticed: the end of the stream is no message.
	if err := send(kindEnd, ""); err != nil {
		return "", err
	}
	answer, err := c.Receive(ctx)
	if err != nil {
		return "", fmt.Errorf("no answer: %w", err)
	}
	return string(answer), nil
}

// accept receives texts up to the end that the sender has set. After the first
// message that is wrong, nothing of this connection is believed.
func accept(ctx context.Context, c *framing.Conn, p protection, k *keys, accepted func(number uint32, text []byte)) error {
	challenge := make([]byte, challengeSize)
	rand.Read(challenge) // never fails (crypto/rand)
	if err := c.Send(ctx, challenge); err != nil {
		return err
	}
	for want := uint32(1); want <= maxMessages; want++ {
		msg, err := c.Receive(ctx)
		if err == io.EOF {
			return fmt.Errorf("%w: cut off after %d messages, without an end", errForged, want-1)
		}
		if err != nil {
			return err
		}
		kind, number, text, err := open(p, k, challenge, msg)
		if err != nil {
			return fmt.Errorf("message %d: %w", want, err)
		}
		if number != want {
			return fmt.Errorf("message %d: %w: it has the number %d", want, errForged, number)
		}
		if kind == kindEnd {
			return nil
		}
		accepted(number, text)
	}
	return fmt.Errorf("more than %d messages", maxMessages)
}

func config(limit time.Duration) *framing.Config {
	return &framing.Config{MaxSize: maxMessage, IdleTimeout: limit, ReadTimeout: limit, WriteTimeout: limit}
}

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	protect := cli.Choice(fs, "protect", "aead", "the protection that is agreed on", names...)
	dir := fs.String("keys", "", "`directory` with the keys that the command keys has made")
	idle := cli.Number(fs, "idle", time.Minute, time.Millisecond, time.Hour, "close a connection that is silent for this `time`")
	return func(ctx context.Context, env *cli.Env) error {
		p := parse(*protect)
		k, err := loadKeys(*dir, p, false)
		if err != nil {
			return err
		}
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		defer ln.Close()
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		s := &framing.Server{
			Config: *config(*idle),
			Handler: func(ctx context.Context, c *framing.Conn) error {
				err := accept(ctx, c, p, k, func(number uint32, text []byte) {
					fmt.Fprintf(env.Stdout, "%d accepted: %s\n", number, brief(text, "%q"))
				})
				verdict := "all accepted"
				switch {
				case err == nil:
					fmt.Fprintln(env.Stdout, "the end, as the sender set it")
				case errors.Is(err, framing.ErrServerClosed):
					return nil
				default:
					verdict = "refused"
					fmt.Fprintf(env.Stdout, "REFUSED: %s\n", cli.Explain(err))
				}
				// The reason is not told: to whom would it be?
				if err := c.Send(ctx, []byte(verdict)); err != nil && ctx.Err() == nil {
					fmt.Fprintf(env.Stdout, "the verdict got lost: %s\n", cli.Explain(err))
				}
				return nil
			},
		}
		if err := s.Serve(ctx, ln); ctx.Err() == nil {
			return err
		}
		return nil
	}
}

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	protect := cli.Choice(fs, "protect", "aead", "the protection that is agreed on", names...)
	dir := fs.String("keys", "", "`directory` with the keys that the command keys has made")
	text := fs.String("text", "", "send this one `line` instead of those of standard input")
	timeout := cli.Number(fs, "timeout", 5*time.Second, time.Millisecond, time.Hour, "wait this `time` for the connection and for answers")
	return func(ctx context.Context, env *cli.Env) error {
		target, err := addr.Target()
		if err != nil {
			return err
		}
		if len(*text) > maxText {
			return cli.Usagef("-text has %d bytes, a message carries %d", len(*text), maxText)
		}
		p := parse(*protect)
		k, err := loadKeys(*dir, p, true)
		if err != nil {
			return err
		}
		dialer := net.Dialer{Timeout: *timeout}
		conn, err := dialer.DialContext(ctx, "tcp", target)
		if err != nil {
			return err
		}
		c := framing.NewConn(conn, nil, config(*timeout))
		defer c.Close()
		lines := cli.Lines(ctx, env.Stdin, maxText)
		if cli.Given(fs, "text") {
			lines = func(yield func(string, error) bool) { yield(*text, nil) }
		}
		verdict, err := transmit(ctx, c, p, k, lines, func(number uint32, text string, msg []byte) {
			fmt.Fprintf(env.Stdout, "%d sent: %s, as %d bytes\n", number, brief([]byte(text), "%q"), len(msg))
		})
		if err != nil {
			return err
		}
		if verdict != "all accepted" {
			return fmt.Errorf("%s says %q", target, verdict)
		}
		_, err = fmt.Fprintf(env.Stdout, "the other side says %q\n", verdict)
		return err
	}
}

func relay(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	to := fs.String("to", "", "pass connections on to the server at this `address:port`")
	attack := cli.Choice(fs, "attack", "forge", "what to do", attacks...)
	on := cli.Number(fs, "on", 1, 1, maxMessages, "with which `message`")
	old := fs.String("old", "luis", "forge: put something in the place of this `text`")
	replacement := fs.String("new", "evan", "forge: this `text`")
	known := fs.String("known", "pay 20 euros to luis", "forge: the `text` of the message, if it cannot be read: the attacker knows or guesses it")
	seed := cli.Number(fs, "seed", int64(1), 0, 1<<62, "noise: a `number` that chooses the bit")
	idle := cli.Number(fs, "idle", time.Minute, time.Millisecond, time.Hour, "close a connection that is silent for this `time`")
	return func(ctx context.Context, env *cli.Env) error {
		if _, port, err := net.SplitHostPort(*to); err != nil || port == "" || port == "0" {
			return cli.Usagef("-to says which server to pass connections on to, as address:port; it is %q", *to)
		}
		if *old == "" {
			return cli.Usagef("-old must not be empty")
		}
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		defer ln.Close()
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		s := &framing.Server{
			Config: *config(*idle),
			Handler: func(ctx context.Context, c *framing.Conn) error {
				dialer := net.Dialer{Timeout: min(*idle, 10*time.Second)}
				conn, err := dialer.DialContext(ctx, "tcp", *to)
				if err != nil {
					fmt.Fprintf(env.Stdout, "%s: %s\n", c.RemoteAddr(), cli.Explain(err))
					return nil
				}
				a := &attacker{attack: *attack, on: *on, old: *old, new: *replacement, known: *known, dice: dice(uint64(*seed))}
				pass(ctx, c, framing.NewConn(conn, nil, config(*idle)), a, func(format string, args ...any) {
					fmt.Fprintf(env.Stdout, format+"\n", args...)
				})
				return nil
			},
		}
		if err := s.Serve(ctx, ln); ctx.Err() == nil {
			return err
		}
		return nil
	}
}

// pass hands messages on, both ways, until one side has no more. What the
// client sends goes through the attacker's hands. It closes server.
func pass(ctx context.Context, client, server *framing.Conn, a *attacker, say func(format string, args ...any)) {
	defer server.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		defer cancel() // the server is the one who hangs up
		for msg, err := range server.Messages(ctx) {
			if err != nil || client.Send(ctx, msg) != nil {
				return
			}
		}
	})
	number := 0
	for msg, err := range client.Messages(ctx) {
		if err != nil {
			break
		}
		number++
		out, done := a.change(msg)
		if done == "" {
			done = "passed on"
		}
		say("%d %s: %s", number, readable(msg), done)
		if server.Send(ctx, out...) != nil {
			break
		}
	}
	// The client has no more to say, and may wait for an answer still.
	if server.CloseWrite() != nil {
		cancel()
	}
}
