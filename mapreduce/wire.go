package mapreduce

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/zocalo-go/zocalo/framing"
)

// protocolVersion is in the first message of both sides: programs of different
// versions part at once.
const protocolVersion = 1

const (
	maxMessage      = 256 << 10 // the longest message, whatever a peer claims
	maxChunk        = 60 << 10  // bytes of a stream in one message
	maxWorkerName   = 64        // bytes in the name of a worker
	maxTaskCounters = 1000      // names that one task may count under
	maxPartitions   = 1000      // reduce tasks of a job
)

// Every message is a frame of package framing, whose first byte says what
// follows: a message in gob, or a piece of a stream.
const (
	isMessage byte = 0
	isChunk   byte = 1
)

type messageType string

const (
	// Between worker and master.
	msgHello   messageType = "hello"   // worker: who I am
	msgWelcome messageType = "welcome" // master: you are taken
	msgAssign  messageType = "assign"  // master: do this task; to a mapper its split follows as a stream
	msgDone    messageType = "done"    // worker: the task is done
	msgFailed  messageType = "failed"  // worker: it is not; a mapper: I have no such result
	msgPing    messageType = "ping"    // worker: I am alive; the master answers the same
	msgGone    messageType = "gone"    // master: do not wait for that worker's results
	msgEnd     messageType = "end"     // master: the job is over, forget its results
	msgBye     messageType = "bye"     // master: leave

	// Between reducer and mapper, and before the result of a reducer.
	msgFetch  messageType = "fetch"  // reducer: give me your table for my partition
	msgOutput messageType = "output" // here it is: a stream follows
)

// A message is what masters and workers say to each other; most fields are used
// by one or two types only. It has no maps, because gob makes room for as many
// entries as a stranger claims.
type message struct {
	Type   messageType
	ID     attemptID // assign, done, failed, fetch, output
	Reason string    // failed, bye: why; ping: what the task says it is at

	Version int           // hello, welcome
	Name    string        // hello: the worker's
	Kind    Kind          // hello: what it does
	Port    int           // hello: where it gives its results to reducers
	Timeout time.Duration // welcome: silence after which a worker counts as lost
	Token   string        // welcome, fetch: what shows that a reducer belongs here

	Job        string   // assign
	Params     []param  // assign
	Partitions int      // assign
	Careful    bool     // assign: a map task that has failed before
	Holders    []holder // assign to a reducer: where the map results are; failed: which could not be had
	Partition  int      // fetch
	Addr       string   // gone

	Counters []counter // done
}

// An attemptID names an attempt among all of a master's life.
type attemptID struct {
	Run     int // which of the master's jobs
	Kind    Kind
	Task    int
	Attempt int
}

// A holder is a worker that holds map results.
type holder struct {
	Addr    string
	Results []attemptID
}

type param struct{ Name, Value string }

type counter struct {
	Name string
	N    int64
}

// A link is a connection that carries messages and streams. What it sends it
// sends whole, even if ctx ends meanwhile, for half a frame would be the end of
// the connection; time limits and Close end a send that hangs.
type link struct{ *framing.Conn }

func (l link) write(ctx context.Context, frame []byte) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return l.Send(context.WithoutCancel(ctx), frame)
}

func (l link) send(ctx context.Context, m *message) error {
	var b bytes.Buffer
	b.WriteByte(isMessage)
	if err := gob.NewEncoder(&b).Encode(m); err != nil {
		return err
	}
	if b.Len() > maxMessage {
		return fmt.Errorf("mapreduce: %s: the message has %d bytes, more than %d: %w", m.Type, b.Len(), maxMessage, framing.ErrTooLarge)
	}
	return l.write(ctx, b.Bytes())
}

// receive returns the next message, or a piece of a stream, valid until the next
// call. An empty piece ends the stream.
func (l link) receive(ctx context.Context) (*message, []byte, error) {
	frame, err := l.Receive(ctx)
	if err != nil {
		return nil, nil, err
	}
	m, chunk, err := parseFrame(frame)
	if err != nil {
		return nil, nil, fmt.Errorf("mapreduce: receive from %v: %w", l.RemoteAddr(), err)
	}
	return m, chunk, nil
}

var errMalformed = errors.New("malformed message")

func parseFrame(frame []byte) (*message, []byte, error) {
	if len(frame) == 0 {
		return nil, nil, errMalformed
	}
	switch body := frame[1:]; frame[0] {
	case isMessage:
		// A decoder for each message: what one stranger declares in his types
		// does not stay in memory.
		var m message
		r := bytes.NewReader(body)
		if err := gob.NewDecoder(r).Decode(&m); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", errMalformed, err)
		}
		if r.Len() > 0 {
			return nil, nil, fmt.Errorf("%w: %d bytes too many", errMalformed, r.Len())
		}
		m.Name, m.Reason = printable(m.Name), printable(m.Reason)
		for i := range m.Counters {
			m.Counters[i].Name = printable(m.Counters[i].Name)
		}
		return &m, nil, nil
	case isChunk:
		return nil, body, nil
	}
	return nil, nil, errMalformed
}

// A chunkWriter sends what is written as a stream; Close ends it.
type chunkWriter struct {
	ctx context.Context // of the one transfer
	l   link
	buf []byte
}

func newChunkWriter(ctx context.Context, l link) *chunkWriter {
	return &chunkWriter{ctx: ctx, l: l, buf: append(make([]byte, 0, 1+maxChunk), isChunk)}
}

func (w *chunkWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), cap(w.buf)-len(w.buf))
		w.buf, rest = append(w.buf, rest[:n]...), rest[n:]
		if len(w.buf) == cap(w.buf) {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

func (w *chunkWriter) flush() error {
	err := w.l.write(w.ctx, w.buf)
	w.buf = w.buf[:1]
	return err
}

// Close sends what is left and the empty piece that ends the stream.
func (w *chunkWriter) Close() error {
	if len(w.buf) > 1 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	return w.flush()
}

// receiveStream copies a stream to dst until its end.
func (l link) receiveStream(ctx context.Context, dst io.Writer) error {
	for {
		m, chunk, err := l.receive(ctx)
		switch {
		case err != nil:
			return err
		case m != nil:
			return fmt.Errorf("mapreduce: %v sent %q inside a stream", l.RemoteAddr(), m.Type)
		case len(chunk) == 0:
			return nil
		}
		if _, err := dst.Write(chunk); err != nil {
			return &localError{err}
		}
	}
}

// A localError is a failure of ours while the peer did all right.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// printable makes what a stranger says fit for logs and terminals.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
