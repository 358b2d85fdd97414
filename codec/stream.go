package codec

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"strings"

	"github.com/zocalo-go/zocalo/framing"
)

// A Stream carries values over a connection of messages, one each: what is sent
// has the type Out, what comes has the type In. A client's
// Stream[Question, Answer] meets a server's Stream[Answer, Question]. Make it with
// [NewStream].
//
// Any number of goroutines may send while one receives.
type Stream[Out, In any] struct {
	conn  *framing.Conn
	codec Codec

	// Of codecs that remember, such as Gob; nil for the others.
	session session
	sending chan struct{} // holds a token while somebody sends
	sendErr error         // guarded by sending
	recvErr error
}

// A session is what a codec keeps for one connection.
type session interface {
	// marshal returns the next message, valid until the next call.
	marshal(v any) ([]byte, error)
	unmarshal(data []byte, v any) error
}

// NewStream returns a Stream over conn. A nil c means [JSON]. The largest message
// that it receives is the smaller of two limits: conn's own, which is
// [framing.Config.MaxSize], and the codec's.
func NewStream[Out, In any](conn *framing.Conn, c Codec) *Stream[Out, In] {
	if c == nil {
		c = JSON{}
	}
	s := &Stream[Out, In]{conn: conn, codec: c}
	if with, ok := c.(interface{ session() session }); ok {
		s.session = with.session()
		s.sending = make(chan struct{}, 1)
	}
	return s
}

// Conn returns the connection below, to close it and to ask for addresses and
// counts.
func (s *Stream[Out, In]) Conn() *framing.Conn { return s.conn }

// Send sends v as one message. A value that cannot be encoded is an [*Error],
// and nothing is sent; the other errors are those of [framing.Conn.Send]. With
// [Gob] every error is final: the types that gob has described in the message
// that failed it would not describe again.
func (s *Stream[Out, In]) Send(ctx context.Context, v Out) error {
	if s.session != nil {
		return s.sendInOrder(ctx, v)
	}
	msg, err := s.codec.Marshal(v)
	if err != nil {
		return err
	}
	return s.conn.Send(ctx, msg)
}

// sendInOrder is Send with a codec that remembers: messages must go out in the
// order in which they were encoded.
func (s *Stream[Out, In]) sendInOrder(ctx context.Context, v Out) error {
	select {
	case s.sending <- struct{}{}:
		defer func() { <-s.sending }()
	case <-ctx.Done():
		return fmt.Errorf("codec: send: %w", context.Cause(ctx))
	}
	if s.sendErr != nil {
		return s.sendErr
	}
	if ctx.Err() != nil {
		return fmt.Errorf("codec: send: %w", context.Cause(ctx))
	}
	msg, err := s.session.marshal(v)
	if err == nil {
		err = s.conn.Send(ctx, msg)
	}
	s.sendErr = err
	return err
}

// Receive waits for the next message and returns its value. Its errors are those
// of [framing.Conn.Receive], io.EOF at the clean end among them, and an [*Error]
// for a message that is no value of type In; after that the next call goes on with
// the message after. With [Gob], where the message that was lost may have
// described the types of all others, every later call returns the same error.
func (s *Stream[Out, In]) Receive(ctx context.Context) (In, error) {
	if s.recvErr != nil {
		var zero In
		return zero, s.recvErr
	}
	return s.decode(s.conn.Receive(ctx))
}

// Messages returns the values to come. The iteration ends without an error at
// the clean end of the stream and when a [framing.Server] shuts down. A message
// that is refused is reported and the iteration goes on, if the loop lets it; an
// error after which nothing more can come ends it.
func (s *Stream[Out, In]) Messages(ctx context.Context) iter.Seq2[In, error] {
	return func(yield func(In, error) bool) {
		if s.recvErr != nil {
			var zero In
			yield(zero, s.recvErr)
			return
		}
		for msg, err := range s.conn.Messages(ctx) {
			if !yield(s.decode(msg, err)) || s.recvErr != nil {
				return
			}
		}
	}
}

// decode turns what the connection gave into what the caller gets.
func (s *Stream[Out, In]) decode(msg []byte, err error) (In, error) {
	var v, zero In
	lost := errors.Is(err, framing.ErrTooLarge) || errors.Is(err, framing.ErrMalformed)
	if err == nil {
		if s.session == nil {
			err = s.codec.Unmarshal(msg, &v)
		} else {
			err = s.session.unmarshal(msg, &v)
		}
		if err == nil {
			return v, nil
		}
		lost = true
		err = &peerError{s.conn.RemoteAddr(), err}
	}
	if lost && s.session != nil {
		s.recvErr = err
	}
	return zero, err
}

// A peerError says who sent what could not be decoded.
type peerError struct {
	addr net.Addr // nil if not known
	err  error
}

func (e *peerError) Error() string {
	if e.addr == nil {
		return e.err.Error()
	}
	return fmt.Sprintf("codec: receive from %v: %s", e.addr, strings.TrimPrefix(e.err.Error(), "codec: "))
}

func (e *peerError) Unwrap() error { return e.err }
