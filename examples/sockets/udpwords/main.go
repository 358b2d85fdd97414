// S6 udpwords: a message travels as words in random order, some of them more
// than once, and the server puts it together. Each word is preceded by its
// position: in a datagram of its own, as the course has it, or in the word's
// own datagram. A lossy relay, and a comparison, show why that matters.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// coursePort is where the course's programs meet.
const coursePort = 1060

// defaultLink is the bad network of relay and compare.
var defaultLink = simnet.Link{
	Delay: 5 * time.Millisecond, Loss: 0.1, Reorder: 0.2, ReorderBy: 3 * time.Millisecond,
}

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "udpwords",
		Summary: "A message as numbered words that arrive in any order, more than once, or not at all.",
		Example: `
go run ./examples/sockets/udpwords server
go run ./examples/sockets/udpwords client -text "en un lugar de la Mancha"
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "puts one message together, prints it and stops", Setup: server},
			{Name: "client", Summary: "sends a message, from -text or all of standard input, word by word", Setup: client},
			{Name: "relay", Summary: "a bad network before a server: loses and reorders datagrams", Setup: relay},
			{Name: "compare", Summary: "many messages over a simulated bad network: how many arrive right, wrong, incomplete", Setup: compare},
			{Name: "demo", Summary: "a good network, a bad one with both formats, and the comparison", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// formatFlag declares -format.
func formatFlag(fs *flag.FlagSet) *string {
	return cli.Choice(fs, "format", pairs, "how a word and its position travel, in two datagrams or in one", pairs, single)
}

// dice returns a source of chance for a seed, for 0 a different one each time.
func dice(seed int64) *rand.Rand {
	if seed == 0 {
		return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	return rand.New(rand.NewPCG(uint64(seed), 0))
}

func relay(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	target := fs.String("target", "127.0.0.1:1060", "`address` of the server behind the relay")
	link := linkFlag(fs)
	seed := cli.Number(fs, "seed", int64(1), 0, 1<<62, "`number` that decides what is lost and reordered")
	return func(ctx context.Context, env *cli.Env) error {
		r, err := simnet.RelayUDP(addr.String(), *target, &simnet.RelayConfig{Up: *link, Seed: uint64(*seed), IdleTimeout: time.Minute})
		if err != nil {
			return err
		}
		if err := env.Listening(r.Addr()); err != nil {
			r.Close()
			return err
		}
		<-ctx.Done()
		up, _ := r.Stats()
		err = r.Close()
		fmt.Fprintf(env.Stdout, "%d datagrams, %d lost, %d reordered\n", up.Packets, up.Lost, up.Reordered)
		return err
	}
}

func linkFlag(fs *flag.FlagSet) *simnet.Link {
	link := new(simnet.Link)
	fs.TextVar(link, "link", defaultLink, "what the network does, such as `loss=10%,dup=5%,delay=5ms,reorder=20%,reorderby=3ms`")
	return link
}

const demoText = "en un lugar de la Mancha de cuyo nombre no quiero acordarme"

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		right := fmt.Sprintf("message: %q\n", demoText)
		for _, scene := range []struct {
			format string
			bad    bool // the network
		}{{pairs, false}, {pairs, true}, {single, true}} {
			heard := &watcher{w: env.Stdout, ended: make(chan struct{})}
			watched := *env
			watched.Stdout = heard
			srv, err := watched.Start(ctx, "server", "-port", "0", "-format", scene.format, "-idle", "1s", "-brief")
			if err != nil {
				return err
			}
			defer srv.Stop()
			port := srv.Port()
			var network *cli.Server
			if scene.bad {
				network, err = env.Start(ctx, "relay", "-port", "0", "-target", srv.Addr, "-link", "delay=5ms,loss=10%,reorder=20%,reorderby=3ms", "-seed", "4")
				if err != nil {
					return err
				}
				defer network.Stop()
				port = network.Port()
			}
			if _, err := env.Play(ctx, "", "client", "-port", port, "-format", scene.format, "-copies", "4", "-seed", "3", "-text", demoText); err != nil {
				return err
			}
			select {
			case <-heard.ended:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if network != nil {
				if err := network.Stop(); err != nil {
					return err
				}
			}
			err = srv.Stop()
			wrong := !strings.Contains(heard.said(), right)
			if mustFail := scene.format == pairs && scene.bad; mustFail != wrong {
				return fmt.Errorf("format %s, bad network %v: wrong %v: %w", scene.format, scene.bad, wrong, err)
			}
			if wrong && err != nil {
				fmt.Fprintf(env.Stdout, "  server: %s\n", cli.Explain(err))
			}
		}
		_, err := env.Play(ctx, "", "compare", "-trials", "200", "-text", demoText)
		return err
	}
}

// A watcher passes on what a server prints, and tells when its last line has
// come.
type watcher struct {
	w     io.Writer
	ended chan struct{} // closed then

	mu   sync.Mutex
	text strings.Builder
	done bool
}

func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.text.Write(p)
	if !w.done && (strings.Contains(w.text.String(), "message: ") || strings.Contains(w.text.String(), "incomplete: ")) {
		w.done = true
		close(w.ended)
	}
	w.mu.Unlock()
	return w.w.Write(p)
}

func (w *watcher) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}
