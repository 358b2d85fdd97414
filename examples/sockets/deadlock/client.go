package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// smallSlice is how long the cure nonblocking waits for one direction before it
// looks at the other.
const smallSlice = time.Millisecond

// An exchange is one text on its way to the server and back.
type exchange struct {
	conn     *net.TCPConn
	total    int64         // bytes of the text
	patience time.Duration // without progress until it counts as stalled
	window   int64         // for the cure interleave

	// With the cure reader each belongs to a goroutine of its own.
	sent, got atomic.Int64
	most      int64 // that were sent and not back, at any time
}

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	cure := cli.Choice(fs, "cure", "none", "how to avoid the deadlock", "none", "reader", "nonblocking", "interleave")
	size := cli.Number[int64](fs, "bytes", 1<<20, 0, 1<<40, "send a text of so many `bytes`")
	window := cli.Number[int64](fs, "window", pieceSize, 1, 1<<30, "cure interleave: have at most so many `bytes` on the way")
	buffer := bufferFlag(fs)
	patience := cli.Number(fs, "patience", time.Second, time.Millisecond, time.Hour, "give up when nothing moves for this `time`")
	return func(ctx context.Context, env *cli.Env) error {
		target, err := addr.Target()
		if err != nil {
			return err
		}
		dialer := net.Dialer{Timeout: *patience, Control: sizeBuffers(*buffer)}
		conn, err := dialer.DialContext(ctx, "tcp", target)
		if err != nil {
			return err
		}
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { conn.Close() }) // wakes what waits below
		defer stop()
		fmt.Fprintf(env.Stdout, "from %s to %s\n", conn.LocalAddr(), conn.RemoteAddr())

		e := &exchange{conn: conn.(*net.TCPConn), total: *size, patience: *patience, window: *window}
		began := time.Now()
		switch *cure {
		case "none":
			err = e.sendThenRead()
		case "reader":
			err = e.readMeanwhile()
		case "nonblocking":
			err = e.takeTurns()
		case "interleave":
			err = e.interleave()
		}
		took := time.Since(began)
		if stall, ok := errors.AsType[*stallError](err); ok {
			fmt.Fprintf(env.Stdout, "sent %d of %d bytes, read %d; %s\n", e.sent.Load(), e.total, e.got.Load(), stall.kernel)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(env.Stdout, "sent %d bytes, read %d in upper case, at most %d on the way; %v\n",
			e.sent.Load(), e.got.Load(), e.most, took.Round(time.Millisecond/10))
		return err
	}
}

// A stallError is what a deadlock looks like to one who does not wait for ever.
type stallError struct {
	text   string
	kernel string // what the kernel held at that moment
}

func (e *stallError) Error() string { return e.text }

// stalled reports that the server does not do what it should.
func (e *exchange) stalled(what string) error {
	return &stallError{
		text:   fmt.Sprintf("stalled: %s %s for %v", e.conn.RemoteAddr(), what, e.patience),
		kernel: describe(e.conn),
	}
}

// sendThenRead is the mistake. It reads nothing before all is sent; once the
// answers fill the buffers the server cannot write, so it does not read, so
// that our own bytes fill the other buffers, and Write waits for ever (here,
// for as long as our patience lasts).
func (e *exchange) sendThenRead() error {
	if err := e.sendAll(); err != nil {
		return err
	}
	return e.readAll()
}

// readMeanwhile is the first cure: who reads is not who writes. In Go that is a
// goroutine; a connection may be read by one and written by another.
func (e *exchange) readMeanwhile() error {
	reading := make(chan error, 1)
	go func() {
		err := e.readAll()
		if err != nil {
			e.conn.Close() // what comes back is wrong: sending on is no use
		}
		reading <- err
	}()
	sendErr := e.sendAll()
	if sendErr != nil {
		e.conn.Close() // so that the reader ends
	}
	readErr := <-reading
	// Whoever fails first closes the connection, which makes the other fail.
	if sendErr == nil || readErr != nil && cli.CauseOf(readErr) != cli.ClosedHere {
		return readErr
	}
	return sendErr
}

// takeTurns is the second cure: never wait long for one direction. A
// non-blocking socket says "would block" at once. Go's sockets are non-blocking
// below, and a deadline is how a program asks for it; one that has passed would
// not even try, hence the millisecond.
func (e *exchange) takeTurns() error {
	last := time.Now() // when something has moved
	closed := false
	for {
		before := e.sent.Load() + e.got.Load()
		for e.sent.Load() < e.total {
			n, err := e.send(e.total-e.sent.Load(), smallSlice)
			if err != nil {
				return err
			}
			if n < pieceSize {
				break // it would block
			}
		}
		if e.sent.Load() == e.total && !closed {
			closed = true
			if err := e.conn.CloseWrite(); err != nil {
				return err
			}
		}
		for {
			n, err := e.read(smallSlice)
			if err == io.EOF {
				return e.complete()
			}
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
		}
		if e.sent.Load()+e.got.Load() > before {
			last = time.Now()
		} else if time.Since(last) >= e.patience {
			return e.stalled("neither takes nor sends anything")
		}
	}
}

// interleave is the third cure: send no more than the buffers are known to
// hold, and read the answer to it before sending more. It needs a protocol in
// which one knows how much answer is due (here a byte for a byte), and waits for
// a round trip each time.
func (e *exchange) interleave() error {
	for e.sent.Load() < e.total {
		due := min(e.total-e.sent.Load(), e.window)
		for due > 0 {
			n, err := e.send(due, e.patience)
			if err != nil {
				return err
			}
			if n == 0 {
				return e.stalled("takes nothing")
			}
			due -= int64(n)
		}
		for e.got.Load() < e.sent.Load() {
			n, err := e.read(e.patience)
			if err == io.EOF {
				return e.complete()
			}
			if err != nil {
				return err
			}
			if n == 0 {
				return e.stalled("sends nothing")
			}
		}
	}
	if err := e.conn.CloseWrite(); err != nil {
		return err
	}
	return e.readAll() // what is left is the end
}

// sendAll sends all of the text and closes our direction.
func (e *exchange) sendAll() error {
	for e.sent.Load() < e.total {
		n, err := e.send(e.total-e.sent.Load(), e.patience)
		if err != nil {
			return err
		}
		if n == 0 {
			return e.stalled("takes nothing")
		}
	}
	return e.conn.CloseWrite()
}

// send sends the next piece of the text, of at most that many bytes, as far as
// the kernel takes it within d.
func (e *exchange) send(most int64, d time.Duration) (int, error) {
	offset := e.sent.Load()
	n, err := push(e.conn, text(offset, min(most, pieceSize)), d)
	e.sent.Add(int64(n))
	e.most = max(e.most, e.sent.Load()-e.got.Load())
	return n, err
}

// readAll reads until the server closes its direction.
func (e *exchange) readAll() error {
	for {
		n, err := e.read(e.patience)
		if err == io.EOF {
			return e.complete()
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return e.stalled("sends nothing")
		}
	}
}

// read reads what comes within d and compares it with what should.
func (e *exchange) read(d time.Duration) (int, error) {
	buf := make([]byte, pieceSize)
	n, err := pull(e.conn, buf, d)
	offset := e.got.Load()
	if offset+int64(n) > e.total {
		return n, fmt.Errorf("%s sends back more than the %d bytes of the text", e.conn.RemoteAddr(), e.total)
	}
	want := text(offset, int64(n))
	upper(want)
	for i, c := range buf[:n] {
		if c != want[i] {
			return n, fmt.Errorf("byte %d comes back from %s as %q instead of %q", offset+int64(i)+1, e.conn.RemoteAddr(), c, want[i])
		}
	}
	e.got.Add(int64(n))
	return n, err
}

// complete is called at the end of the server's stream.
func (e *exchange) complete() error {
	if got := e.got.Load(); got < e.total {
		return fmt.Errorf("%s ends after %d of %d bytes", e.conn.RemoteAddr(), got, e.total)
	}
	return nil
}

// line is what the text is made of. Its length is no power of two, so that a
// piece that is lost or comes twice is noticed.
const line = "everybody talks, nobody listens: 0123456789.\n"

// text returns n bytes of the text from offset on: a text of any length,
// without the memory for it.
func text(offset, n int64) []byte {
	skip := offset % int64(len(line))
	lines := strings.Repeat(line, int((skip+n)/int64(len(line))+1))
	return []byte(lines[skip : skip+n])
}
