package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

const (
	// afterword is how long the receiver waits, after the last byte of a file,
	// for the sender to close its direction. A sender that keeps it open, as
	// simple ones do, has to wait so long for its answer.
	afterword = 200 * time.Millisecond

	// lastWords is how long a sender has to take its answer.
	lastWords = time.Second
)

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	dir := fs.String("dir", ".", "store the files in this `folder`")
	name := fs.String("name", "", "store a file under this `name`; by default received-1, received-2, …")
	force := fs.Bool("force", false, "let a file of -name replace the one that is there")
	once := fs.Bool("once", false, "stop when one file has been stored")
	most := cli.Number(fs, "max", int64(1<<30), 0, maxLength, "refuse files of more `bytes`")
	stall := cli.Number(fs, "stall", 30*time.Second, time.Millisecond, 24*time.Hour, "give up a sender of whom nothing comes, or less than 64 KiB, in this `time`")
	clients := cli.Number(fs, "clients", 16, 1, 10_000, "serve so `many` senders at a time; more must wait")
	return func(ctx context.Context, env *cli.Env) error {
		if *force && *name == "" {
			return cli.Usagef("-force goes with -name: files with numbers never replace each other")
		}
		if err := checkName(*name); err != nil {
			return err
		}
		store, err := openFolder(*dir, *name, *force)
		if err != nil {
			return err
		}
		defer store.close()
		var config net.ListenConfig
		ln, err := config.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		defer ln.Close()
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		for _, part := range store.sweep() {
			fmt.Fprintf(env.Stdout, "removed %s, left by a receiver that was killed\n", part)
		}
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		r := &receiver{env: env, store: store, most: *most, stored: func() {
			if *once {
				stop()
			}
		}}
		return r.serve(ctx, ln, *clients, *stall)
	}
}

// A receiver stores the files of any number of senders at a time.
type receiver struct {
	env    *cli.Env
	store  *folder
	most   int64
	stored func() // called after each file, when its sender has been thanked
}

func (r *receiver) serve(ctx context.Context, ln net.Listener, clients int, stall time.Duration) error {
	srv := &framing.Server{
		Format:   ofReceiver,
		MaxConns: clients,
		Config:   framing.Config{IdleTimeout: stall, ReadTimeout: stall, WriteTimeout: stall},
		// After a refusal the sender may still be sending. Closing a
		// connection with bytes unread makes the system reset it, and the
		// reset can destroy the answer.
		Linger: lastWords,
		Grace:  3 * lastWords, // to answer, and to linger
		Handler: func(_ context.Context, c *framing.Conn) error {
			// Not the server's context, with which the connection is closed
			// already: with this one there is time to tell the sender.
			r.handle(ctx, c)
			return nil
		},
	}
	if err := srv.Serve(ctx, ln); ctx.Err() == nil {
		return err
	}
	return nil // told to stop
}

// A refusal is why a file is not stored, in words for both ends.
type refusal string

func (r refusal) Error() string { return string(r) }

const (
	errStopping = refusal("the receiver stops")
	errNoFile   = refusal("no file was sent")
)

// handle receives one file, answers and says what happened.
func (r *receiver) handle(ctx context.Context, c *framing.Conn) {
	got, err := r.receive(ctx, c)
	told, text := thanks, fmt.Sprintf("%d bytes, SHA-256 %x; stored as %s", got.size, got.sum, got.name)
	if err != nil {
		told, text = r.explain(ctx, got, err)
	}
	fmt.Fprintf(r.env.Stdout, "%s: %s\n", c.RemoteAddr(), text)

	// The answer goes out even if ctx has ended meanwhile.
	answering, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	sendErr := c.Send(answering, []byte(told))
	if err == nil {
		if sendErr != nil {
			fmt.Fprintf(r.env.Stdout, "%s: did not wait for the thanks\n", c.RemoteAddr())
		}
		r.stored()
	}
}

// explain puts into words why nothing was stored: for the sender, who learns
// nothing about the folder, and for the user of this program.
func (r *receiver) explain(ctx context.Context, got received, err error) (told, text string) {
	text = err.Error()
	if words, ok := errors.AsType[refusal](err); ok {
		told = string(words)
	} else if _, ok := errors.AsType[*storeError](err); ok {
		told = "the receiver cannot store it"
	} else if ctx.Err() != nil {
		told = string(errStopping)
		text = told
	} else {
		switch cause := cli.CauseOf(err); cause {
		case cli.Unknown:
		case cli.Truncated:
			text = "the stream ends"
		case cli.TimedOut:
			text = "nothing comes any more"
		default:
			text = string(cause)
		}
		if got.announced {
			text = fmt.Sprintf("%s after %d of %d bytes", text, got.arrived, got.size)
		} else {
			text += " before the whole length"
		}
		told = text
	}
	return complaint + told, "nothing stored: " + text
}

// received says what is known of a file.
type received struct {
	announced bool // its size is known
	size      int64
	arrived   int64
	sum       []byte
	name      string // under which it is stored
}

// receive stores the file of one connection.
func (r *receiver) receive(ctx context.Context, c *framing.Conn) (got received, err error) {
	body, size, err := c.NextReader(ctx)
	if err == io.EOF || err == framing.ErrServerClosed {
		return got, errNoFile
	}
	if err != nil {
		return got, err
	}
	got.announced, got.size = true, size
	if size > r.most {
		return got, refusal(fmt.Sprintf("%d bytes are more than the %d that are taken here", size, r.most))
	}
	part, err := r.store.create()
	if err != nil {
		return got, err
	}
	defer part.discard() // does nothing after keep
	hash := sha256.New()
	got.arrived, err = io.CopyBuffer(io.MultiWriter(part, hash), body, make([]byte, chunk))
	if err != nil {
		return got, err
	}
	if err := ended(ctx, c); err != nil {
		return got, err
	}
	got.sum = hash.Sum(nil)
	got.name, err = part.keep()
	return got, err
}

// ended makes sure that the stream does not go on after the file.
func ended(ctx context.Context, c *framing.Conn) error {
	tail, cancel := context.WithTimeout(ctx, afterword)
	defer cancel()
	_, _, err := c.NextReader(tail)
	switch {
	case errors.Is(err, errTooLong):
		return refusal("the stream goes on after the length that it announced")
	case err == io.EOF:
		return nil // the sender has closed its direction
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return nil // it keeps it open and is silent: it waits for the answer
	}
	return err
}
