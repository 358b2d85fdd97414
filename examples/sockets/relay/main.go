// S12 relay: a server takes a message from one client and delivers it to a
// second client, which connected before and waits for one; then it closes both.
//
// Every message on the wire has its length before it, four bytes, big-endian
// (the second technique of S11), and its first byte says what it is:
//
//	R         a client to the server: I take a message
//	S text    a client to the server: deliver this
//	M text    the server to a receiver: here it is
//	K         a receiver to the server: I have it
//	D         the server to a sender: the receiver has it
//	E text    the server to a client: why not; it then closes
//
//	sender              server              receiver
//	   │                   │ ◄─────── R ───────│
//	   │──── S hola ─────► │──── M hola ─────► │
//	   │ ◄────── D ────────│ ◄─────── K ───────│
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// coursePort is where the course's programs meet.
const coursePort = 1060

// maxText is the default of -max, in bytes.
const maxText = 64 << 10

// What the first byte of a message says.
const (
	kindReceive   = 'R'
	kindSend      = 'S'
	kindMessage   = 'M'
	kindKept      = 'K'
	kindDelivered = 'D'
	kindError     = 'E'
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "relay",
		Summary: "A server takes a message from one client and delivers it to another that waits for it.",
		Example: `
go run ./examples/sockets/relay server
go run ./examples/sockets/relay receiver
go run ./examples/sockets/relay sender -text "hola"
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "brings messages from senders to receivers, in order of arrival", Setup: server},
			{Name: "receiver", Summary: "waits for a message and prints it", Setup: receiver},
			{Name: "sender", Summary: "sends -text, or all of standard input, as one message", Setup: sender},
			{Name: "demo", Summary: "plays all three, in both orders, and a sender without a receiver", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// message puts the kind before the text.
func message(kind byte, text []byte) []byte {
	return append([]byte{kind}, text...)
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		heard := &listener{w: env.Stdout, news: make(chan struct{}, 1)}
		stage := *env
		stage.Stdout = heard
		srv, err := stage.Start(ctx, "server", "-port", "0")
		if err != nil {
			return err
		}
		defer srv.Stop()

		// The first comes, the server notices it, then comes the second.
		meet := func(first, second func() (string, error), notice string) error {
			var wg sync.WaitGroup
			var firstErr error
			wg.Go(func() { _, firstErr = first() })
			err := heard.wait(ctx, notice)
			if err == nil {
				_, err = second()
			} else {
				srv.Stop() // so that the first ends
			}
			wg.Wait()
			return errors.Join(firstErr, err)
		}
		receive := func() (string, error) {
			out, err := stage.Play(ctx, "", "receiver", "-port", srv.Port())
			if err == nil && !strings.HasSuffix(out, "\n¡Hola, Zócalo!\n") {
				err = fmt.Errorf("the receiver has printed %q", out)
			}
			return out, err
		}
		send := func() (string, error) {
			return stage.Play(ctx, "", "sender", "-port", srv.Port(), "-text", "¡Hola, Zócalo!")
		}
		if err := meet(receive, send, "waits for a message"); err != nil {
			return err
		}
		// The other way round, the message waits at the server.
		if err := meet(send, receive, "no receiver yet"); err != nil {
			return err
		}
		if err := srv.Stop(); err != nil {
			return err
		}
		// But it does not wait for ever.
		srv, err = stage.Start(ctx, "server", "-port", "0", "-wait", "300ms")
		if err != nil {
			return err
		}
		defer srv.Stop()
		if _, err = send(); err == nil {
			return errors.New("a message was delivered to nobody")
		}
		fmt.Fprintf(stage.Stdout, "  sender: %s\n", cli.Explain(err))
		return srv.Stop()
	}
}

// A listener passes a demo's output on, and can be asked to wait for a text.
type listener struct {
	w    io.Writer
	news chan struct{} // holds a token when there is something new

	mu   sync.Mutex
	seen bytes.Buffer
}

func (l *listener) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen.Write(p)
	select {
	case l.news <- struct{}{}:
	default:
	}
	return l.w.Write(p)
}

// wait waits until text has been written since the last call.
func (l *listener) wait(ctx context.Context, text string) error {
	for {
		l.mu.Lock()
		found := bytes.Contains(l.seen.Bytes(), []byte(text))
		if found {
			l.seen.Reset()
		}
		l.mu.Unlock()
		if found {
			return nil
		}
		select {
		case <-l.news:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
