package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/zocalo-go/zocalo/framing"
)

// Everything on the stream is messages with their length in front, in eight
// bytes since a file may be long. All are notes but one: the bytes of the file.
var format = framing.Prefix{Width: 8}

// maxNote bounds a note, in bytes.
const maxNote = 4 << 10

// A note is a message that is not the file, in JSON. Who sends what:
//
//	client → server      {"op":"get"|"put","name":"…"}
//	receiver → sender    {"have":N,"sha256":"…"}    of a part from last time
//	sender → receiver    {"size":N,"from":N}        and the file, from there
//	sender → receiver    {"sha256":"…"}             of all of the file
//	receiver → sender    {"sha256":"…"}             of what is on its disk
//
// In the place of each there may be {"error":"…"}, the last word of its sender.
type note struct {
	Op     string `json:"op,omitempty"`
	Name   string `json:"name,omitempty"`
	Have   int64  `json:"have,omitempty"`
	Size   int64  `json:"size,omitempty"`
	From   int64  `json:"from,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	Error  string `json:"error,omitempty"`
}

// A wire is one end of the conversation.
type wire struct {
	*framing.Conn
	timeout time.Duration // of every wait
	show    progress      // of the file's bytes as they pass
}

func newWire(conn io.ReadWriter, timeout time.Duration, show progress) *wire {
	return &wire{framing.NewConn(conn, format, config(timeout)), timeout, show}
}

func config(timeout time.Duration) *framing.Config {
	// How long to wait for a message to begin is hear's to say.
	return &framing.Config{MaxSize: maxNote, IdleTimeout: -1, ReadTimeout: timeout, WriteTimeout: timeout}
}

// A peerError is what the other end has said went wrong.
type peerError struct{ peer, text string }

func (e *peerError) Error() string { return fmt.Sprintf("%s refuses: %q", e.peer, e.text) }

// A refusal is why this end does not go on, in words that the peer is told.
type refusal string

func (r refusal) Error() string { return string(r) }

// A diskError is a failure of this end's own, whose details are none of the
// peer's business.
type diskError struct{ err error }

func (e *diskError) Error() string { return e.err.Error() }
func (e *diskError) Unwrap() error { return e.err }

// A sumError is the end of a transfer whose two ends have different files.
type sumError struct{ sent, stored string }

func (e *sumError) Error() string {
	return fmt.Sprintf("the file was damaged on its way, and is not kept: SHA-256 %.12q… was sent, %.12q… arrived", e.sent, e.stored)
}

func (w *wire) tell(ctx context.Context, n note) error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return w.Send(ctx, text)
}

// hear waits for the peer's next note, as long as ctx.
func (w *wire) hear(ctx context.Context) (note, error) {
	text, err := w.Receive(ctx)
	if err != nil {
		return note{}, err
	}
	var n note
	if err := json.Unmarshal(text, &n); err != nil {
		return note{}, refusal("that is no note: " + err.Error())
	}
	if n.Error != "" {
		return note{}, &peerError{fmt.Sprint(w.RemoteAddr()), n.Error}
	}
	if n.Have < 0 || n.Size < 0 || n.From < 0 {
		return note{}, refusal("a negative number in a note")
	}
	return n, nil
}

// hearSoon is hear with the wire's limit of time.
func (w *wire) hearSoon(ctx context.Context) (note, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, w.timeout, w.silence())
	defer cancel()
	return w.hear(ctx)
}

// A silence is the end of the patience with a peer.
type silence struct {
	peer  net.Addr
	after time.Duration
}

func (s *silence) Error() string { return fmt.Sprintf("no answer from %v within %v", s.peer, s.after) }

func (w *wire) silence() error { return &silence{w.RemoteAddr(), w.timeout} }

// A progress is told how far a transfer is.
type progress interface {
	Begin(from, size int64)
	io.Writer // the bytes that pass
}

// unseen is a progress that nobody looks at.
type unseen struct{}

func (unseen) Begin(int64, int64)          {}
func (unseen) Write(p []byte) (int, error) { return len(p), nil }
