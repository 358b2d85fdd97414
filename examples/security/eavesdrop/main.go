// T3 eavesdrop: a client talks to its bank, and between them sits a tap that
// passes every byte on and says what it could read. In clear that is
// everything. With TLS it is the beginning of the handshake, and then sizes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "eavesdrop",
		Summary: "What a listener on the wire sees of a conversation, in clear and with TLS.",
		Example: `
go run ./examples/security/eavesdrop server -port 4433 -root root.pem
go run ./examples/security/eavesdrop tap -port 4434 -to 127.0.0.1:4433 -pcap seen.pcapng
go run ./examples/security/eavesdrop client -port 4434 -root root.pem -text balance
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "a bank of one customer, over TLS or in clear", Setup: server},
			{Name: "client", Summary: "logs in and sends orders, from -text or standard input: balance, pay NAME AMOUNT", Setup: client},
			{Name: "tap", Summary: "passes connections on to the server and tells what can be read of them", Setup: tap},
			{Name: "demo", Summary: "the same talk in clear, over TLS 1.2, over TLS 1.3, and with an impostor", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		dir, err := os.MkdirTemp("", "eavesdrop")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		root := filepath.Join(dir, "root.pem")
		for _, act := range []struct {
			title          string
			server, client []string
			tap            []string
			seen           []string // what the eavesdropper must have got to read
			hidden         []string // and what not
			refused        bool
		}{
			{
				title:  "in clear",
				server: []string{"-clear"}, client: []string{"-clear"},
				seen: []string{"login ana sesamo", "balance 1234.56"},
			},
			{
				title:  "TLS 1.2",
				server: []string{"-root", root, "-tls", "1.2"}, client: []string{"-root", root},
				seen:   []string{"bank.example", "TLS 1.2", "Certificate", "room for 17 bytes"},
				hidden: []string{"sesamo", "1234.56"},
			},
			{
				title:  "TLS 1.3",
				server: []string{"-root", root}, client: []string{"-root", root},
				seen:   []string{"bank.example", "TLS 1.3", "room for 17 bytes"},
				hidden: []string{"sesamo", "1234.56", "Eavesdropped Bank"},
			},
			{
				title:  "the tap poses as the bank",
				server: []string{"-root", root}, client: []string{"-root", root},
				tap:    []string{"-forge"},
				hidden: []string{"sesamo", "1234.56"}, refused: true,
			},
		} {
			fmt.Fprintf(env.Stdout, "--- %s\n", act.title)
			err := func() error {
				srv, err := env.Start(ctx, append([]string{"server", "-port", "0"}, act.server...)...)
				if err != nil {
					return err
				}
				defer srv.Stop()
				heard := &ear{out: env.Stdout, changed: make(chan struct{}, 1)}
				listening := *env
				listening.Stdout = heard
				eve, err := listening.Start(ctx, append([]string{"tap", "-port", "0", "-to", srv.Addr, "-brief"}, act.tap...)...)
				if err != nil {
					return err
				}
				defer eve.Stop()
				_, err = env.Play(ctx, "", append([]string{"client", "-port", eve.Port(), "-text", "balance"}, act.client...)...)
				if act.refused {
					if err == nil {
						return errors.New("the client believed the impostor")
					}
					fmt.Fprintf(env.Stdout, "  client: %s\n", cli.Explain(err))
				} else if err != nil {
					return err
				}
				end := "the listener knows:"
				if act.refused {
					end = "did not believe it"
				}
				if err := heard.wait(ctx, end); err != nil {
					return err
				}
				if err := eve.Stop(); err != nil {
					return err
				}
				for _, text := range act.seen {
					if !strings.Contains(heard.String(), text) {
						return fmt.Errorf("the tap did not see %q", text)
					}
				}
				for _, text := range act.hidden {
					if strings.Contains(heard.String(), text) {
						return fmt.Errorf("the tap saw %q", text)
					}
				}
				return srv.Stop()
			}()
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// An ear passes on what a command prints, and remembers it.
type ear struct {
	out     io.Writer
	changed chan struct{}

	mu   sync.Mutex
	text strings.Builder
}

func (e *ear) Write(p []byte) (int, error) {
	e.mu.Lock()
	e.text.Write(p)
	e.mu.Unlock()
	select {
	case e.changed <- struct{}{}:
	default: // whoever waits will look anyway
	}
	return e.out.Write(p)
}

func (e *ear) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.String()
}

// wait waits until text has been printed.
func (e *ear) wait(ctx context.Context, text string) error {
	for !strings.Contains(e.String(), text) {
		select {
		case <-e.changed:
		case <-ctx.Done():
			return fmt.Errorf("the tap does not say %q: %w", text, context.Cause(ctx))
		}
	}
	return nil
}
