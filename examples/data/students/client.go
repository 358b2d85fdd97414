package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/codec"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	format := cli.Choice(fs, "codec", "json", "`format` of the answers, the same as the server's", formatNames...)
	name := fs.String("name", "", "ask for this `name` instead of those of standard input")
	timeout := cli.Number(fs, "timeout", 5*time.Second, time.Millisecond, time.Hour, "wait this `time` for the connection and for each answer")
	return func(ctx context.Context, env *cli.Env) error {
		c, err := lookup(*format)
		if err != nil {
			return err
		}
		target, err := addr.Target()
		if err != nil {
			return err
		}
		dialer := net.Dialer{Timeout: *timeout}
		stream, err := dialer.DialContext(ctx, "tcp", target)
		if err != nil {
			return err
		}
		defer stream.Close()
		conn := framing.NewConn(stream, nil, &framing.Config{ // nil: four bytes of length, big-endian
			MaxSize: maxAnswer, IdleTimeout: *timeout, ReadTimeout: *timeout, WriteTimeout: *timeout,
		})
		names := cli.Lines(ctx, env.Stdin, maxName)
		if *name != "" {
			names = func(yield func(string, error) bool) { yield(*name, nil) }
		}
		for name, err := range names {
			if err != nil {
				return err
			}
			if name == "" {
				break
			}
			if err := ask(ctx, conn, c, name, env.Stdout); err != nil {
				return err
			}
		}
		// The empty message. The server closes, and only then is all done.
		if err := conn.Send(ctx, nil); err != nil {
			return err
		}
		if _, err := conn.Receive(ctx); err == nil {
			return fmt.Errorf("%s goes on after the end of the dialogue", conn.RemoteAddr())
		} else if err != io.EOF {
			return fmt.Errorf("the end of the dialogue: %w", err)
		}
		return nil
	}
}

// ask asks for one student and prints the answer.
func ask(ctx context.Context, conn *framing.Conn, c codec.Codec, name string, out io.Writer) error {
	if err := conn.Send(ctx, []byte(name)); err != nil {
		return err
	}
	msg, err := conn.Receive(ctx)
	if err == io.EOF {
		return fmt.Errorf("no answer from %s: %w", conn.RemoteAddr(), err)
	}
	if err != nil {
		return err
	}
	var a Answer
	err = c.Unmarshal(msg, &a)
	if err == nil && (a.Student == nil) == (a.Error == "") {
		err = errors.New("it must hold either a record or an error")
	}
	if err != nil {
		return fmt.Errorf("%s answers with what is not the %s of an answer (%w): it may have been started with another -codec", conn.RemoteAddr(), c.Name(), undecorated{err})
	}
	// Quoted: what comes from the network must not command the terminal.
	if a.Student == nil {
		_, err = fmt.Fprintf(out, "%.200q (%d bytes of %s)\n", a.Error, len(msg), c.Name())
		return err
	}
	_, err = fmt.Fprintf(out, "%.200q, id %d, phone %.60q (%d bytes of %s)\n", a.Student.Name, a.Student.ID, a.Student.Phone, len(msg), c.Name())
	return err
}

// undecorated is an error whose text stands in the middle of a sentence, and
// which is about the answer and not about the connection: it hides a cut
// message's io.ErrUnexpectedEOF, which would be taken for the connection's.
type undecorated struct{ err error }

func (u undecorated) Error() string { return strings.TrimPrefix(u.err.Error(), "codec: ") }
