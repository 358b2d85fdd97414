package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/zocalo-go/zocalo/codec"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

// opening is how the first chapter begins.
//
//go:embed opening.txt
var opening []byte

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	file := fs.String("file", "", "send the text of this `file`; by default that of quijote.txt in the folder which ZOCALO_DATA names, without one the opening of the first chapter")
	own := fs.Bool("opening", false, "send the opening of the first chapter, whatever ZOCALO_DATA says")
	from := fs.String("from", "", "the `encoding` of the file; by default the program finds it out")
	most := cli.Number(fs, "max", int64(maxText), 1, 1<<30, "refuse a file of more `bytes`")
	idle := cli.Number(fs, "idle", 30*time.Second, time.Millisecond, 24*time.Hour, "close a connection that is silent for this `time`")
	return func(ctx context.Context, env *cli.Env) error {
		if *own && *file != "" {
			return cli.Usagef("-opening and -file name two texts")
		}
		if _, err := codec.Lookup(*from); *from != "" && err != nil {
			return cli.Usagef("-from: no encoding %q; there are %v", *from, codec.Names())
		}
		if dir := os.Getenv("ZOCALO_DATA"); *file == "" && !*own && dir != "" {
			*file = filepath.Join(dir, "quijote.txt")
		}
		b, note, err := openBook(*file, *from, *most)
		if err != nil {
			return err
		}
		var config net.ListenConfig
		ln, err := config.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		defer ln.Close()
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		fmt.Fprintln(env.Stdout, note)
		return serve(ctx, ln, b, *idle, env)
	}
}

// openBook reads the text of a file, or the opening for no file, and says what
// it has read.
func openBook(file, from string, max int64) (b *book, note string, err error) {
	if file == "" {
		b = newBook(opening)
		return b, fmt.Sprintf("the opening of the first chapter: %d characters, %d bytes in UTF-8", b.characters, len(b.text)), nil
	}
	data, err := readFile(file, max)
	if err != nil {
		return nil, "", err
	}
	how := "as -from says"
	var text []byte
	if from != "" {
		t, err := codec.Lookup(from)
		if err != nil {
			return nil, "", err
		}
		t.MaxSize = max
		if text, err = t.Decode(data); err != nil {
			return nil, "", fmt.Errorf("%s is not in %s: %s", file, t.Name(), why(err))
		}
		if !utf8.Valid(text) { // base64, zlib and gzip hold any bytes
			return nil, "", fmt.Errorf("%s: what it holds in %s is no text in UTF-8", file, t.Name())
		}
		text, from = bytes.TrimPrefix(text, mark), t.Name()
	} else {
		best := guesses(data, max)[0]
		if text, err = best.decode(data, max); err != nil {
			return nil, "", fmt.Errorf("%s cannot be read: %s: %s", file, best.name(), best.why)
		}
		from, how = best.name(), best.confidence()+" sure"
	}
	b = newBook(text)
	return b, fmt.Sprintf("%s: %s (%s): %d characters, %d bytes in UTF-8", file, from, how, b.characters, len(b.text)), nil
}

// A book is the text and what has been made of it, each encoding once.
type book struct {
	text       []byte
	characters int
	editions   sync.Map // of edition to func() (*printed, error); as many as there are encodings
}

// An edition is one way of sending the text.
type edition struct {
	encoding string
	replace  bool
}

// printed is the text in one edition.
type printed struct {
	bytes []byte
	head  Head
}

func newBook(text []byte) *book {
	return &book{text: text, characters: utf8.RuneCount(text)}
}

// print returns the text in an encoding.
func (b *book) print(t codec.Text) (*printed, error) {
	once, _ := b.editions.LoadOrStore(edition{t.Name(), t.Replace}, sync.OnceValues(func() (*printed, error) {
		out, err := t.Encode(b.text)
		if err != nil {
			return nil, err
		}
		// What the client will read, to know how it differs from the text.
		t.MaxSize = int64(len(b.text))
		back, err := t.Decode(out)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(back)
		return &printed{bytes: out, head: Head{
			Encoding: t.Name(), Size: len(out), SHA256: hex.EncodeToString(sum[:]),
			Characters: utf8.RuneCount(back), Changed: differing(b.text, back),
		}}, nil
	}))
	return once.(func() (*printed, error))()
}

// differing counts the characters in which two texts differ, place by place.
func differing(a, b []byte) (n int) {
	for len(a) > 0 && len(b) > 0 {
		ra, na := utf8.DecodeRune(a)
		rb, nb := utf8.DecodeRune(b)
		if ra != rb {
			n++
		}
		a, b = a[na:], b[nb:]
	}
	return n + utf8.RuneCount(a) + utf8.RuneCount(b)
}

// serve answers requests until ctx ends; what is being sent then still goes out.
func serve(ctx context.Context, ln net.Listener, b *book, idle time.Duration, env *cli.Env) error {
	s := &framing.Server{
		Config: framing.Config{MaxSize: maxAsk, IdleTimeout: idle, ReadTimeout: idle, WriteTimeout: idle},
		Handler: func(ctx context.Context, c *framing.Conn) error {
			peer := c.RemoteAddr()
			err := answerAll(ctx, c, b, func(what string) {
				fmt.Fprintf(env.Stdout, "%s: %s\n", peer, what)
			})
			switch cause := cli.CauseOf(err); {
			case err == nil:
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
	return nil // told to stop
}

// answerAll answers the requests of one connection to its clean end. What is
// wrong with one is told to its sender, and the next is read.
func answerAll(ctx context.Context, c *framing.Conn, b *book, done func(string)) error {
	stream := codec.NewStream[Head, Ask](c, askCodec)
	for ask, err := range stream.Messages(ctx) {
		head, body, note := Head{}, []byte(nil), ""
		_, malformed := errors.AsType[*codec.Error](err)
		switch {
		case err == nil:
			head, body, note = answer(b, ask)
		case malformed:
			note = "no request: " + why(err)
			head.Error = note
		case errors.Is(err, framing.ErrTooLarge): // what is left of it is skipped
			note = fmt.Sprintf("a request has %d bytes at most", maxAsk)
			head.Error = note
		default:
			return err
		}
		if err := stream.Send(ctx, head); err != nil {
			return err
		}
		if head.Error == "" {
			if err := c.Send(ctx, body); err != nil {
				return err
			}
		}
		done(note)
	}
	return nil
}

// answer makes the answer to one request, and a note on it for our own user.
func answer(b *book, ask Ask) (head Head, body []byte, note string) {
	t, err := codec.Lookup(ask.Encoding)
	if err != nil {
		head.Error = fmt.Sprintf("unknown encoding %s; there are %s", brief(ask.Encoding), offered)
		return head, nil, "refused: " + head.Error
	}
	t.Replace = ask.Replace
	p, err := b.print(t)
	if err != nil {
		head.Error = fmt.Sprintf("%s cannot hold the text: %s", t.Name(), why(err))
		return head, nil, "refused: " + head.Error
	}
	note = fmt.Sprintf("%s, %d bytes", t.Name(), len(p.bytes))
	if p.head.Changed > 0 {
		note += fmt.Sprintf(", %d characters changed", p.head.Changed)
	}
	return p.head, p.bytes, note
}
