package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/udprel"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// A client holds the flags that get and put have in common.
type client struct {
	addr     *cli.Addr
	over     func() transport
	timeout  *time.Duration
	link     simnet.Link
	seed     *int64
	progress *bool
}

func clientFlags(fs *flag.FlagSet) *client {
	c := &client{
		addr:     cli.AddrFlags(fs, 0),
		over:     transportFlags(fs),
		timeout:  timeoutFlag(fs),
		seed:     seedFlag(fs),
		progress: fs.Bool("progress", term.IsTerminal(int(os.Stderr.Fd())), "show a progress bar on standard error; by default on a terminal"),
	}
	fs.TextVar(&c.link, "link", simnet.Link{}, "put a bad `link` in between, in both directions: rate=20mbit,delay=20ms,loss=2%")
	return c
}

func getCommand(fs *flag.FlagSet) cli.Action {
	c := clientFlags(fs)
	out := fs.String("o", "", "store it as this `file`; by default under its own name in the current folder")
	replace := fs.Bool("replace", false, "replace the file if it is there")
	return func(ctx context.Context, env *cli.Env) error {
		if len(env.Args) != 1 {
			return cli.Usagef("get wants one NAME, not %d", len(env.Args))
		}
		target, err := c.addr.Target()
		if err != nil {
			return err
		}
		name := env.Args[0]
		if *out == "" {
			*out = path.Base(name)
		}
		dir, base := filepath.Split(*out)
		if base == "" || base == "." || base == ".." {
			return cli.Usagef("%q is not the name of a file", *out)
		}
		files, err := openFolder(filepath.Clean(dir), *replace, 0)
		if err != nil {
			return err
		}
		defer files.close()
		p, err := files.create(base)
		if err != nil {
			return err
		}
		defer p.leave()
		return c.run(ctx, env, target, note{Op: "get", Name: name}, func(w *wire) (result, error) { return w.receive(ctx, p) })
	}
}

func putCommand(fs *flag.FlagSet) cli.Action {
	c := clientFlags(fs)
	name := fs.String("name", "", "call it so at the server; by default it keeps its `name`")
	return func(ctx context.Context, env *cli.Env) error {
		if len(env.Args) != 1 {
			return cli.Usagef("put wants one FILE, not %d", len(env.Args))
		}
		target, err := c.addr.Target()
		if err != nil {
			return err
		}
		// Everything that can go wrong on this side goes wrong before a byte
		// is sent.
		dir, base := filepath.Split(env.Args[0])
		files, err := openFolder(filepath.Clean(dir), false, 0)
		if err != nil {
			return err
		}
		defer files.close()
		file, size, err := files.open(base)
		if err != nil {
			return err
		}
		defer file.Close()
		if *name == "" {
			*name = base
		}
		return c.run(ctx, env, target, note{Op: "put", Name: *name}, func(w *wire) (result, error) { return w.send(ctx, file, size) })
	}
}

// run connects, asks for what the client wants, does it, and says how it went.
func (c *client) run(ctx context.Context, env *cli.Env, target string, request note, transfer func(*wire) (result, error)) error {
	over := c.over()
	if c.link != (simnet.Link{}) {
		link := c.link
		if link.MTU == 0 {
			link.MTU = 1500 // loopback takes much larger packets, no real network does
		}
		relay, err := over.relay("127.0.0.1:0", target, &simnet.RelayConfig{Up: link, Down: link, Seed: uint64(*c.seed)})
		if err != nil {
			return err
		}
		defer relay.Close()
		defer func() {
			up, down := relay.Stats()
			fmt.Fprintf(env.Stdout, "link: %s; %s\n", describe("to the server", up), describe("back", down))
		}()
		target = relay.Addr().String()
	}
	dialing, cancel := context.WithTimeout(ctx, *c.timeout)
	defer cancel()
	conn, err := over.dial(dialing, target)
	if err != nil {
		return err
	}
	var show progress = unseen{}
	if *c.progress {
		bar := &bar{out: env.Stderr, name: path.Base(request.Name)}
		defer bar.end()
		show = bar
	}
	w := newWire(conn, *c.timeout, show)
	defer w.Close()
	begin := time.Now()
	done, err := ask(ctx, w, request, transfer)
	if err != nil {
		return err
	}
	took := time.Since(begin)
	_, err = fmt.Fprintf(env.Stdout, "%s %s: %v, in %v: %.1f Mbit/s\n", request.Op, request.Name, done,
		took.Round(time.Millisecond), float64(done.size-done.from)*8/1e6/took.Seconds())
	return err
}

// describe says what a link has done with packets.
func describe(direction string, s simnet.Stats) string {
	return fmt.Sprintf("%d packets %s, of them %d lost and %d found the queue full", s.Packets, direction, s.Lost+s.TooBig, s.TailDropped)
}

// ask sends a request and does what it is about. If this end fails, the other
// is told.
func ask(ctx context.Context, w *wire, request note, transfer func(*wire) (result, error)) (result, error) {
	err := w.tell(ctx, request)
	var done result
	if err == nil {
		done, err = transfer(w)
	}
	if err != nil {
		confess(ctx, w, err)
		return result{}, plain(ctx, w.RemoteAddr(), err)
	}
	// Our last note may be on its way still: the server closes when it has it.
	_ = w.CloseWrite()
	_, _ = w.hearSoon(ctx) // the end of the stream
	return done, nil
}

// plain leaves of an error what a user wants to know.
func plain(ctx context.Context, peer net.Addr, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// What a peer says may stand in what the network says, and both in what
	// framing says.
	if e, ok := errors.AsType[*silence](err); ok {
		return e
	}
	if e, ok := errors.AsType[*peerError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*diskError](err); ok {
		return e
	}
	// The reasons of udprel are net.ErrClosed as well, but say more.
	for _, reason := range []error{udprel.ErrTimeout, udprel.ErrAborted, udprel.ErrPeerClosed, udprel.ErrReset, udprel.ErrProtocol} {
		if errors.Is(err, reason) {
			return fmt.Errorf("the connection with %v has broken: %s", peer, strings.TrimPrefix(reason.Error(), "udprel: "))
		}
	}
	if cause := cli.CauseOf(err); cause != cli.Unknown {
		return fmt.Errorf("the connection with %v has broken: %s", peer, cause)
	}
	return err
}

// A bar is a progress bar.
type bar struct {
	out  io.Writer
	name string
	bar  *progressbar.ProgressBar // once it has begun
}

func (b *bar) Begin(from, size int64) {
	if size == 0 {
		return
	}
	b.bar = progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(b.out),
		progressbar.OptionSetDescription(b.name),
		progressbar.OptionSetWidth(30),
		progressbar.OptionShowBytes(true),
		progressbar.OptionShowTotalBytes(true),
		progressbar.OptionThrottle(100*time.Millisecond),
	)
	_ = b.bar.Set64(from) // a terminal that fails is not the transfer's concern
}

func (b *bar) Write(p []byte) (int, error) { return b.bar.Write(p) } // only after Begin, and of more than nothing

func (b *bar) end() {
	if b.bar != nil {
		fmt.Fprintln(b.out) // the bar's own line ends with it, however it goes
	}
}
