package mq

import (
	"errors"
	"fmt"
	"strings"
)

// A Type is what a socket does with messages: whom it may talk to, where a
// message goes that it sends, and whose turn it is.
type Type uint8

// The socket types, with the document that describes them.
const (
	_      Type = iota
	PAIR        // one peer, both ways: 31/EXPAIR
	PUB         // to every subscriber: 29/PUBSUB
	SUB         // from every publisher
	REQ         // asks, then waits for the answer: 28/REQREP
	REP         // answers
	DEALER      // to one peer after the other, without turns
	ROUTER      // to the peer that the first frame names
	PULL        // from every PUSH: 30/PIPELINE
	PUSH        // to one PULL after the other
	XPUB        // PUB that receives the subscriptions
	XSUB        // SUB that sends its subscriptions as messages
)

var typeNames = [...]string{
	PAIR: "PAIR", PUB: "PUB", SUB: "SUB", REQ: "REQ", REP: "REP", DEALER: "DEALER",
	ROUTER: "ROUTER", PULL: "PULL", PUSH: "PUSH", XPUB: "XPUB", XSUB: "XSUB",
}

// String returns the name of t on the wire, such as "REQ".
func (t Type) String() string {
	if t == 0 || int(t) >= len(typeNames) {
		return fmt.Sprintf("Type(%d)", uint8(t))
	}
	return typeNames[t]
}

// ParseType returns the type with the given name, in upper or lower case.
func ParseType(name string) (Type, error) {
	for t := PAIR; t <= XSUB; t++ {
		if strings.EqualFold(name, typeNames[t]) {
			return t, nil
		}
	}
	return 0, fmt.Errorf("mq: %q is no socket type", name)
}

// A Msg is one message: its frames, at least one. Frames travel together or not
// at all. What [Socket.Recv] returns belongs to the caller; small frames of
// several messages share memory, so a program that keeps a few bytes of many
// for long should copy them.
type Msg [][]byte

// Text returns the message whose frames are the given strings.
func Text(frames ...string) Msg {
	m := make(Msg, len(frames))
	for i, f := range frames {
		m[i] = []byte(f)
	}
	return m
}

// String returns the frames as quoted text.
func (m Msg) String() string { return fmt.Sprintf("%q", [][]byte(m)) }

// Errors that a program may tell apart with errors.Is. After Close the methods
// of a [Socket] return net.ErrClosed; when a context ends, its cause.
var (
	// ErrState: it is not the socket's turn, for example to Send on a REQ
	// socket that waits for its answer.
	ErrState = errors.New("mq: not now: it is the other side's turn")

	// ErrUnroutable: a ROUTER with [Config.Mandatory] has no peer of that identity.
	ErrUnroutable = errors.New("mq: no peer has that identity")

	// ErrType: sockets of this type do not do that.
	ErrType = errors.New("mq: not with this type of socket")
)

// A ProtocolError says what a peer did against the protocol. It ended that
// connection, and nothing else.
type ProtocolError struct {
	Where string // "greeting", "handshake", "frame", "command"
	What  string // it was
	Fatal bool   // trying again will not help
}

// Error returns the place and the fault.
func (e *ProtocolError) Error() string { return "mq: " + e.Where + ": " + e.What }
