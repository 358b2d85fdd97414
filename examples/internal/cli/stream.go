package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"strings"
	"sync"
)

const listening = "listening on "

// Listening prints the line by which a script, or a test, learns where a
// server listens: "listening on 127.0.0.1:40123", "listening on [::1]:40123".
// It must be the server's first line of output.
func (e *Env) Listening(addr net.Addr) error {
	_, err := fmt.Fprintf(e.Stdout, "%s%s\n", listening, addr)
	return err
}

// Serve listens on a TCP address, says so, and lets serve do the rest, which
// owns the listener. That serve ends because ctx has is no error.
func (e *Env) Serve(ctx context.Context, address string, serve func(ctx context.Context, ln net.Listener) error) error {
	var config net.ListenConfig
	ln, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer ln.Close()
	if err := e.Listening(ln.Addr()); err != nil {
		return err
	}
	if err := serve(ctx, ln); ctx.Err() == nil {
		return err
	}
	return nil
}

// ListeningAddr returns the address in a line that [Env.Listening] printed.
func ListeningAddr(line string) (addr string, ok bool) {
	return strings.CutPrefix(strings.TrimRight(line, "\r\n"), listening)
}

// A LineError says that a line of the input was longer than allowed.
type LineError struct {
	Line int // its number, from 1
	Max  int // the bytes that a line may have, without its end
}

// Error says which line and how long it may be.
func (e *LineError) Error() string {
	return fmt.Sprintf("line %d of the input is longer than %d bytes", e.Line, e.Max)
}

// Lines yields the lines of r without their ends ("\n" or "\r\n"), each at most
// max bytes long; a last line need not have an end. A longer line yields a
// [LineError], a failed read its error, the end of ctx that of ctx; each ends
// the sequence.
//
// Since a blocked Read of a terminal cannot be interrupted, a goroutine does
// the reading; when the sequence is left early it stays behind until its Read
// returns. That suits a program's standard input, which ends with the process.
func Lines(ctx context.Context, r io.Reader, max int) iter.Seq2[string, error] {
	type result struct {
		line string
		err  error
	}
	return func(yield func(string, error) bool) {
		results := make(chan result)
		quit := make(chan struct{})
		defer close(quit)
		go func() {
			defer close(results)
			lines := bufio.NewReaderSize(r, 4096)
			for number := 1; ; number++ {
				line, err := readLine(lines, max)
				if err == errLong {
					err = &LineError{Line: number, Max: max}
				}
				if err == io.EOF {
					return
				}
				select {
				case results <- result{line, err}:
				case <-quit:
					return
				}
				if err != nil {
					return
				}
			}
		}()
		for {
			select {
			case <-ctx.Done():
				yield("", context.Cause(ctx))
				return
			case res, ok := <-results:
				if !ok || !yield(res.line, res.err) || res.err != nil {
					return
				}
			}
		}
	}
}

// Interruptible returns a reader of r, a program's standard input, that ends with
// ctx and its cause. As with [Lines], a Read of a terminal that is blocked stays
// behind until the process ends.
func Interruptible(ctx context.Context, r io.Reader) io.Reader {
	pr, pw := io.Pipe()
	go func() {
		_, err := io.Copy(pw, r)
		pw.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { pw.CloseWithError(context.Cause(ctx)) })
	return pr
}

var errLong = errors.New("line too long")

// readLine reads one line of at most max bytes; more are not held in memory.
func readLine(r *bufio.Reader, max int) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil || err == io.EOF {
			if err == io.EOF && len(line) == 0 {
				return "", io.EOF
			}
			if bytes.HasSuffix(line, []byte("\n")) {
				line = bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
			}
			if len(line) > max {
				return "", errLong
			}
			return string(line), nil
		}
		if err != bufio.ErrBufferFull {
			return "", err
		}
		if len(line) > max+2 {
			return "", errLong
		}
	}
}

// lockedWriter makes each Write whole among several goroutines and streams.
type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// labelWriter passes on whole lines, each with a label before it, so that the
// two ends of a demo can be told apart. A line longer than labelMax is passed
// on in pieces.
type labelWriter struct {
	w     io.Writer
	label string

	mu      sync.Mutex
	partial []byte
	heard   chan<- string    // receives the address of the first line, once; nil for no interest
	kept    *strings.Builder // what was written, as it was; nil for no interest
}

const labelMax = 64 << 10

func (l *labelWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept != nil {
		l.kept.Write(p)
	}
	l.partial = append(l.partial, p...)
	for {
		end := bytes.IndexByte(l.partial, '\n') + 1
		if end == 0 {
			if len(l.partial) < labelMax {
				return len(p), nil
			}
			end = len(l.partial)
		}
		if err := l.emit(string(l.partial[:end])); err != nil {
			return 0, err
		}
		l.partial = append(l.partial[:0], l.partial[end:]...)
	}
}

func (l *labelWriter) emit(line string) error {
	if l.heard != nil {
		if addr, ok := ListeningAddr(line); ok {
			l.heard <- addr // has room for the one value it is ever sent
		}
		l.heard = nil
	}
	if !strings.HasSuffix(line, "\n") {
		line += "\n"
	}
	_, err := fmt.Fprintf(l.w, "  %s: %s", l.label, line)
	return err
}

// flush passes on a last line that had no end.
func (l *labelWriter) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.partial) > 0 {
		l.emit(string(l.partial))
		l.partial = nil
	}
}
