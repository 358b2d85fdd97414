package udprel

import (
	"errors"
	"net"
)

// An endError is a reason for which a connection is over.
type endError struct {
	text    string
	timeout bool
}

func (e *endError) Error() string { return "udprel: " + e.text }

// Unwrap makes errors.Is(err, net.ErrClosed) hold for every such reason.
func (e *endError) Unwrap() error { return net.ErrClosed }

func (e *endError) Timeout() bool { return e.timeout }

// Temporary completes net.Error.
func (e *endError) Temporary() bool { return false }

// The reasons for which a connection ends, besides Close and Abort on this
// side. errors.Is finds them, and [net.ErrClosed] with each, in what the methods
// of [Conn] return.
var (
	// ErrTimeout is returned when nothing was heard from the peer for
	// Config.IdleTimeout. It is a net.Error whose Timeout is true.
	ErrTimeout error = &endError{"the peer has fallen silent", true}
	// ErrHandshake is returned by Dial when nobody answered within
	// Config.HandshakeTimeout. It is a net.Error whose Timeout is true.
	ErrHandshake error = &endError{"nobody answered", true}
	// ErrAborted means that the peer has aborted the connection, or closed it
	// with data undelivered.
	ErrAborted error = &endError{text: "aborted by the peer"}
	// ErrPeerClosed is returned by writes after the peer has closed the
	// connection. Reads return what has arrived, then io.EOF.
	ErrPeerClosed error = &endError{text: "closed by the peer"}
	// ErrReset means that the peer does not know the connection, for example
	// since its program was started anew.
	ErrReset error = &endError{text: "unknown to the peer"}
	// ErrProtocol means that the peer has sent what it may not send.
	ErrProtocol error = &endError{text: "the peer violates the protocol"}
)

// errLocal is the reason after Close or Abort on this side.
var errLocal error = net.ErrClosed

// ErrTooLarge is returned by [Conn.Send] for a message that is larger than the
// peer's Config.MessageBuffer allows. The connection goes on.
var ErrTooLarge = errors.New("udprel: message too large")

// ErrUndelivered is returned by [Conn.Close] when Config.Linger has passed and
// not everything that was written has been acknowledged. The peer sees
// ErrAborted.
var ErrUndelivered = errors.New("udprel: closed with data undelivered")
