package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	timeout := cli.Number(fs, "timeout", time.Minute, time.Millisecond, 24*time.Hour, "wait this `time` for the connection, for each 64 KiB to be taken, and for the answer")
	progress := fs.Bool("progress", term.IsTerminal(int(os.Stderr.Fd())), "show a progress bar on standard error; by default on a terminal")
	return func(ctx context.Context, env *cli.Env) error {
		if len(env.Args) != 1 {
			return cli.Usagef("client wants one FILE, not %d", len(env.Args))
		}
		target, err := addr.Target()
		if err != nil {
			return err
		}
		// Everything that can go wrong on this side goes wrong before a byte
		// is sent.
		file, size, err := open(env.Args[0])
		if err != nil {
			return err
		}
		defer file.Close()
		dialer := net.Dialer{Timeout: *timeout}
		conn, err := dialer.DialContext(ctx, "tcp", target)
		if err != nil {
			return err
		}
		// How long to wait for the answer is send's to say: not before all is sent.
		c := framing.NewConn(conn, ofSender, &framing.Config{MaxSize: maxAnswer, ReadTimeout: -1, WriteTimeout: *timeout})
		defer c.Close()

		show := io.Discard
		if *progress && size > 0 {
			bar := newBar(env.Stderr, size, filepath.Base(file.Name()))
			defer fmt.Fprintln(env.Stderr) // the bar's own line ends with it, however it goes
			show = bar
		}
		sum, err := send(ctx, c, file, size, *timeout, show)
		if err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "sent %s: %d bytes, SHA-256 %x\n", filepath.Base(file.Name()), size, sum)
		_, err = fmt.Fprintf(env.Stdout, "%s answers %q\n", conn.RemoteAddr(), thanks)
		return err
	}
}

// open opens a file whose length is known and can be told in four bytes.
func open(name string) (*os.File, int64, error) {
	info, err := os.Stat(name) // before Open, which would wait for the other end of a pipe
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is no regular file: its length must be known before it is sent", name)
	}
	if info.Size() > maxLength {
		return nil, 0, fmt.Errorf("%s is too long: its %d bytes are more than the %d whose number fits in 4 bytes", name, info.Size(), int64(maxLength))
	}
	file, err := os.Open(name)
	return file, info.Size(), err
}

// newBar returns a progress bar that takes what is sent.
func newBar(w io.Writer, size int64, name string) *progressbar.ProgressBar {
	return progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(name),
		progressbar.OptionSetWidth(30),
		progressbar.OptionShowBytes(true),
		progressbar.OptionShowTotalBytes(true),
		progressbar.OptionThrottle(100*time.Millisecond),
	)
}

var (
	errAnswered = errors.New("an answer came before the file was sent")
	errNoAnswer = errors.New("no answer came in time")
)

// send sends size bytes of file, shows them as they go, and returns their
// SHA-256 once the receiver has thanked for them.
//
// It listens all the while. A receiver that does not want the file says so at
// once and closes; whoever only wrote would notice a broken connection, not
// the reason that came before.
func send(ctx context.Context, c *framing.Conn, file io.Reader, size int64, timeout time.Duration, show io.Writer) ([]byte, error) {
	listening, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	sending, interrupt := context.WithCancelCause(ctx)
	defer interrupt(nil)
	var answer string
	var answerErr error
	answered := make(chan struct{}) // closed when the two above are set
	go func() {
		defer close(answered)
		msg, err := c.Receive(listening)
		answer, answerErr = string(msg), err
		interrupt(errAnswered)
	}()

	sum, n, sendErr := write(sending, c, file, size, show)
	if cause := cli.CauseOf(sendErr); sendErr == nil || cause == cli.Reset || cause == cli.HungUp || errors.Is(sendErr, errAnswered) {
		// All is sent, or the receiver has stopped us: what it has to say is
		// there or on its way.
		limit := time.AfterFunc(timeout, func() { giveUp(errNoAnswer) })
		defer limit.Stop()
	} else {
		giveUp(sendErr)
	}
	<-answered

	peer := c.RemoteAddr()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case answerErr == nil && answer != "" && answer != thanks:
		return nil, fmt.Errorf("%s refuses the file: %q", peer, answer)
	case sendErr != nil && !errors.Is(sendErr, errAnswered):
		return nil, fmt.Errorf("after %d of %d bytes: %w", n, size, sendErr)
	case errors.Is(answerErr, errNoAnswer):
		return nil, fmt.Errorf("no answer from %s within %v: the file may be stored there, or not", peer, timeout)
	case answerErr != nil:
		return nil, fmt.Errorf("after %d of %d bytes: %w", n, size, answerErr)
	case answer == "":
		return nil, fmt.Errorf("%s has closed the connection after %d of %d bytes, without an answer: the file is hardly stored there", peer, n, size)
	case n < size:
		return nil, fmt.Errorf("%s gives thanks after %d of %d bytes", peer, n, size)
	}
	return sum, nil
}

// write sends the file as one message and says that nothing follows.
func write(ctx context.Context, c *framing.Conn, file io.Reader, size int64, show io.Writer) (sum []byte, n int64, err error) {
	w, err := c.NextWriter(ctx, size)
	if err != nil {
		return nil, 0, err
	}
	hash := sha256.New()
	n, err = io.CopyBuffer(io.MultiWriter(w, hash, show), io.LimitReader(file, size), make([]byte, chunk))
	if err == nil && n < size {
		err = errors.New("the file has become shorter while it was sent")
	}
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, n, err
	}
	return hash.Sum(nil), n, c.CloseWrite()
}
