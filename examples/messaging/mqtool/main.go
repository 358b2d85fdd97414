// M6 mqtool: one ØMQ socket of any type, driven by lines on standard input and
// telling what happens as lines on standard output. Scripts, other languages
// and other people's tests reach package mq this way.
//
//	standard input                          standard output
//	["frame","frame"]      ──► ┌────────┐ ──► ["frame","frame"]
//	{"op":"recv",…}        ──► │ socket │ ──► {"event":"ready"}
//	                           └───┬────┘ ──► {"error":"timeout"}
//	                               │
//	                        other sockets, of any language
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/mq"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := program()
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// types are the commands: one for each type of socket.
var types = []struct {
	typ     mq.Type
	summary string
}{
	{mq.REQ, "asks, and prints the reply after each request"},
	{mq.REP, "prints each request and sends it back"},
	{mq.DEALER, "asks and answers without taking turns"},
	{mq.ROUTER, "sends to the peer that the first frame names"},
	{mq.PUB, "publishes to all that subscribed"},
	{mq.SUB, "prints what it subscribed to"},
	{mq.XPUB, "publishes, and prints the subscriptions"},
	{mq.XSUB, "subscribes by messages, and prints what comes"},
	{mq.PUSH, "hands out work, to each peer in turn"},
	{mq.PULL, "prints the work that comes"},
	{mq.PAIR, "talks with exactly one peer"},
}

// program returns the command line of mqtool.
func program() *cli.Program {
	p := &cli.Program{
		Name:    "mqtool",
		Summary: "One ØMQ socket on standard input and output.",
		Example: `
go run ./examples/messaging/mqtool rep --bind tcp://127.0.0.1:5555
echo '["hola"]' | go run ./examples/messaging/mqtool req --connect tcp://127.0.0.1:5555
`,
	}
	for _, t := range types {
		p.Commands = append(p.Commands, cli.Command{
			Name: strings.ToLower(t.typ.String()), Summary: t.summary,
			Setup: func(fs *flag.FlagSet) cli.Action { return setup(fs, t.typ) },
		})
	}
	p.Commands = append(p.Commands, cli.Command{
		Name: "demo", Summary: "requests, a router, a subscriber, a full queue and encryption", Setup: demo,
	})
	return p
}

// setup declares the flags of a socket of type typ.
func setup(fs *flag.FlagSet, typ mq.Type) cli.Action {
	opts := declare(fs)
	return func(ctx context.Context, env *cli.Env) error {
		cfg, err := opts.config(fs, typ)
		if err != nil {
			return err
		}
		socket, err := mq.NewSocket(typ, cfg)
		if err != nil {
			return err
		}
		t := &tool{typ: typ, socket: socket, out: env.Stdout, options: opts}
		bound, err := t.open(ctx)
		if err != nil {
			socket.Close()
			return err
		}
		if err := t.print(ready{"ready", bound}); err != nil {
			socket.Close()
			return fmt.Errorf("standard output: %w", err)
		}
		return t.play(ctx, env.Stdin)
	}
}
