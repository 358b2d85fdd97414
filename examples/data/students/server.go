package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/zocalo-go/zocalo/codec"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

//go:embed students.json
var embedded []byte

// maxFile is the largest file of students, in bytes.
const maxFile = 16 << 20

// A registry finds students by name.
type registry map[string]*Student

// newRegistry reads a list of students in JSON.
func newRegistry(list []byte) (registry, error) {
	var students []*Student
	if err := (codec.JSON{MaxSize: maxFile}).Unmarshal(list, &students); err != nil {
		return nil, err
	}
	r := make(registry, len(students))
	for i, s := range students {
		if s == nil || key(s.Name) == "" {
			return nil, fmt.Errorf("student %d has no name", i+1)
		}
		if other := r[key(s.Name)]; other != nil {
			return nil, fmt.Errorf("students %d and %d are both called %q", other.ID, s.ID, s.Name)
		}
		r[key(s.Name)] = s
	}
	return r, nil
}

// key is what two spellings of a name have in common: case, spaces around, and
// the two ways in which Unicode writes "á", as one character or as an a and an
// accent (a Mac's file names have the second).
func key(name string) string {
	return norm.NFC.String(strings.ToLower(strings.TrimSpace(name)))
}

// answer answers a question.
func (r registry) answer(name []byte) *Answer {
	if !utf8.Valid(name) {
		return &Answer{Error: "the name is not UTF-8"}
	}
	if s := r[key(string(name))]; s != nil {
		return &Answer{Student: s}
	}
	return &Answer{Error: fmt.Sprintf("no student is called %q", name)}
}

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	format := cli.Choice(fs, "codec", "json", "`format` of the answers", formatNames...)
	file := fs.String("file", "", "read the students from this `file`, a JSON array; without it, six that come with the program")
	idle := cli.Number(fs, "idle", time.Minute, time.Millisecond, 24*time.Hour, "close a connection that is silent for this `time`")
	clients := cli.Number(fs, "clients", 100, 1, 10_000, "serve this `number` of clients at a time; further ones wait")
	return func(ctx context.Context, env *cli.Env) error {
		c, err := lookup(*format)
		if err != nil {
			return err
		}
		list := embedded
		if *file != "" {
			if list, err = readFile(*file); err != nil {
				return err
			}
		}
		students, err := newRegistry(list)
		if err != nil {
			return fmt.Errorf("the list of students: %w", err)
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
		s := &framing.Server{
			Config:   framing.Config{MaxSize: maxName, IdleTimeout: *idle, ReadTimeout: *idle, WriteTimeout: *idle},
			MaxConns: *clients,
			Handler: func(ctx context.Context, conn *framing.Conn) error {
				end := dialogue(ctx, conn, c, students, env.Stdout)
				if ctx.Err() == nil {
					fmt.Fprintf(env.Stdout, "%s: %s\n", conn.RemoteAddr(), end)
				}
				return nil
			},
		}
		err = s.Serve(ctx, ln)
		s.Close() // waits for the handlers
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
}

// readFile reads a file that is not too large.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", name, maxFile)
	}
	return data, err
}

// dialogue answers the questions of one connection and says how it ended.
func dialogue(ctx context.Context, conn *framing.Conn, c codec.Codec, students registry, out io.Writer) string {
	say := func(what string, a *Answer) error {
		msg, err := c.Marshal(a)
		if err != nil {
			// The list of -file may hold what a format cannot.
			msg, err = c.Marshal(&Answer{Error: "the record does not fit the format " + c.Name()})
		}
		if err == nil {
			err = conn.Send(ctx, msg)
		}
		if err == nil {
			fmt.Fprintf(out, "%s: %s: %s in %d bytes of %s\n", conn.RemoteAddr(), what, a.kind(), len(msg), c.Name())
		}
		return err
	}
	for {
		name, err := conn.Receive(ctx)
		switch {
		case err == nil && len(name) == 0:
			return "the end, by an empty message"
		case err == nil:
			err = say(brief(name), students.answer(name))
		case errors.Is(err, framing.ErrTooLarge):
			_ = say("a name that is too long", &Answer{Error: fmt.Sprintf("a name may have %d bytes at most", maxName)})
			return "ended: the name is too long" // what follows would have to be read to the end, and may be 4 GiB
		case err == io.EOF:
			return "gone without an empty message"
		case err == framing.ErrServerClosed:
			return "ended: the server stops"
		}
		if err != nil {
			if cause := cli.CauseOf(err); cause != cli.Unknown {
				return "ended: " + string(cause)
			}
			return fmt.Sprintf("ended: %v", err)
		}
	}
}

// kind says what an answer holds.
func (a *Answer) kind() string {
	if a.Student != nil {
		return "a record"
	}
	return "an error"
}

// brief quotes the beginning of what a stranger sent.
func brief(b []byte) string {
	const most = 60
	if len(b) > most {
		return fmt.Sprintf("%q…", b[:most])
	}
	return fmt.Sprintf("%q", b)
}
