// M3 queuecrazy: a fountain of words (PUSH), three processors (PULL), each of
// which asks two responders (REP) in turn, one for upper and one for lower
// case. It is a program of the book that the course follows.
//
//	              ┌──► processor ──┐ in   ┌──► responder upper
//	fountain ─────┼──► processor ──┼──────┤
//	              └──► processor ──┘ turn └──► responder lower
//	       a word goes       a word is sent to one
//	       to one of them    responder, the next to the other
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/words"
	"github.com/zocalo-go/zocalo/examples/internal/zmq"
	"github.com/zocalo-go/zocalo/mq"
)

// The ports of the book.
const (
	fountainPort = 6700
	upperPort    = 6701
	lowerPort    = 6702
)

// limits keeps strangers' messages small: they are to be words.
var limits = mq.Config{MaxSize: 4 << 10}

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "queuecrazy",
		Summary: "A fountain of words, three processors and two responders, joined by ØMQ.",
		Example: `
go run ./examples/messaging/queuecrazy all

go run ./examples/messaging/queuecrazy fountain
go run ./examples/messaging/queuecrazy responder -do upper
go run ./examples/messaging/queuecrazy responder -do lower
go run ./examples/messaging/queuecrazy processor -name 1
`,
		Commands: []cli.Command{
			{Name: "fountain", Summary: "hands out words, each to one processor", Setup: fountain},
			{Name: "responder", Summary: "answers each word in upper or lower case", Setup: responder},
			{Name: "processor", Summary: "takes words, asks the responders in turn, prints the answers", Setup: processor},
			{Name: "all", Summary: "plays all six parts in one process", Setup: all},
			{Name: "demo", Summary: "plays all six parts for twelve words", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func fountain(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, fountainPort)
	every := cli.Number(fs, "every", 400*time.Millisecond, 0, time.Hour, "rest this `time` after each word")
	count := cli.Number(fs, "n", 0, 0, 1_000_000_000, "stop after so `many` words; 0, never")
	seed := cli.Number(fs, "seed", 0, 0, 1<<31-1, "choose the words that belong to this `number`; 0, always others")
	return func(ctx context.Context, env *cli.Env) error {
		socket, err := mq.NewSocket(mq.PUSH, &limits)
		if err != nil {
			return err
		}
		defer socket.Close() // waits until the last word has left
		if err := zmq.Bind(ctx, env, socket, addr); err != nil {
			return err
		}
		return pour(ctx, socket, *every, *count, *seed)
	}
}

// pour sends count words, or words without end. While no processor is there, it
// waits.
func pour(ctx context.Context, socket *mq.Socket, every time.Duration, count, seed int) error {
	list := words.Bundled()
	dice := rand.New(rand.NewPCG(uint64(seed), 0))
	if seed == 0 {
		dice = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	for i := 0; count == 0 || i < count; i++ {
		// With a capital, so that both cases are a change.
		word := list[dice.IntN(len(list))]
		first, size := utf8.DecodeRuneInString(word)
		if err := socket.Send(ctx, []byte(string(unicode.ToUpper(first))+word[size:])); err != nil {
			return unlessStopped(ctx, err)
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// unlessStopped is err, or nil if the program was told to stop.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// cases are what the responders do.
var cases = map[string]func(string) string{"upper": strings.ToUpper, "lower": strings.ToLower}

func responder(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, upperPort)
	do := cli.Choice(fs, "do", "upper", "what to do with words; lower listens on port 6702 unless -port says otherwise", "upper", "lower")
	return func(ctx context.Context, env *cli.Env) error {
		if *do == "lower" && !cli.Given(fs, "port") {
			addr.Port = lowerPort
		}
		socket, err := mq.NewSocket(mq.REP, &limits)
		if err != nil {
			return err
		}
		defer socket.Close()
		if err := zmq.Bind(ctx, env, socket, addr); err != nil {
			return err
		}
		return respond(ctx, socket, cases[*do])
	}
}

// respond answers words until ctx ends.
func respond(ctx context.Context, socket *mq.Socket, change func(string) string) error {
	for word, err := range socket.Messages(ctx) {
		if err == nil {
			err = socket.Send(ctx, []byte(change(string(word[0]))))
		}
		if err != nil {
			return unlessStopped(ctx, err)
		}
	}
	return nil
}

func processor(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, fountainPort)
	name := fs.String("name", "1", "the `name` to put before each answer")
	count := cli.Number(fs, "n", 0, 0, 1_000_000_000, "stop after so `many` words; 0, never")
	wait := cli.Number(fs, "wait", 10*time.Second, time.Millisecond, time.Hour, "wait this `time` for an answer")
	var responders []string
	fs.Func("responder", "ask at `HOST:PORT`; repeatable (default 127.0.0.1:6701 and 127.0.0.1:6702)", func(s string) error {
		responders = append(responders, "tcp://"+s)
		return nil
	})
	return func(ctx context.Context, env *cli.Env) error {
		if len(responders) == 0 {
			responders = []string{fmt.Sprintf("tcp://127.0.0.1:%d", upperPort), fmt.Sprintf("tcp://127.0.0.1:%d", lowerPort)}
		}
		p, err := newProcessor(*name)
		if err != nil {
			return err
		}
		defer p.close()
		if _, err := zmq.Connect(p.words, addr); err != nil {
			return err
		}
		for _, endpoint := range responders {
			if err := p.asks.Connect(endpoint); err != nil {
				return err
			}
		}
		done := 0
		err = p.process(ctx, *wait, func(word, answer []byte) error {
			if err := p.print(env.Stdout, word, answer); err != nil {
				return err
			}
			if done++; done == *count {
				return errDone
			}
			return nil
		})
		if err == errDone {
			return nil
		}
		return err
	}
}

// A worker is a processor: it takes words and asks.
type worker struct {
	name        string
	words, asks *mq.Socket // PULL and REQ
}

func newProcessor(name string) (*worker, error) {
	words, err := mq.NewSocket(mq.PULL, &limits)
	if err != nil {
		return nil, err
	}
	unsent := limits
	unsent.Linger = -1 // a question that was not asked is of no use any more
	asks, err := mq.NewSocket(mq.REQ, &unsent)
	if err != nil {
		words.Close()
		return nil, err
	}
	return &worker{name, words, asks}, nil
}

func (w *worker) close() {
	w.words.Close()
	w.asks.Close()
}

// errDone says that there are enough words.
var errDone = errors.New("done")

// process takes words, has them changed and hands both to each, until that
// returns an error.
func (w *worker) process(ctx context.Context, wait time.Duration, each func(word, answer []byte) error) error {
	for word, err := range w.words.Messages(ctx) {
		if err != nil {
			return unlessStopped(ctx, err)
		}
		answer, err := w.ask(ctx, word[0], wait)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return fmt.Errorf("no responder has answered within %v", wait)
		}
		if err != nil {
			return unlessStopped(ctx, err)
		}
		if err := each(word[0], answer); err != nil {
			return err
		}
	}
	return nil
}

// print prints what was made of a word.
func (w *worker) print(out io.Writer, word, answer []byte) error {
	_, err := fmt.Fprintf(out, "processor %s: %s → %s\n", w.name, zmq.Printable(word), zmq.Printable(answer))
	return err
}

// ask sends a word to the responder whose turn it is and returns the answer.
func (w *worker) ask(ctx context.Context, word []byte, wait time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := w.asks.Send(ctx, word); err != nil {
		return nil, err
	}
	answer, err := w.asks.Recv(ctx)
	if err != nil {
		return nil, err
	}
	return answer[0], nil
}
