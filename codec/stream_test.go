package codec_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/codec"
	"github.com/zocalo-go/zocalo/framing"
)

type query struct{ Name string }

func values() []codec.Codec {
	return []codec.Codec{codec.JSON{}, codec.MessagePack{}, codec.Gob{}}
}

// pipe returns the two ends of a connection in memory.
func pipe(t *testing.T, cfg *framing.Config) (near, far *framing.Conn) {
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	return framing.NewConn(a, nil, cfg), framing.NewConn(b, nil, cfg)
}

// TestDialogue asks and answers in two types, one for each direction.
func TestDialogue(t *testing.T) {
	for _, c := range append(values(), nil) {
		near, far := pipe(t, nil)
		client := codec.NewStream[query, student](near, c)
		server := codec.NewStream[student, query](far, c)
		require.Same(t, near, client.Conn())
		var wg sync.WaitGroup
		wg.Go(func() {
			for q, err := range server.Messages(t.Context()) {
				if err != nil {
					t.Error(err)
					return
				}
				if err := server.Send(t.Context(), student{Name: q.Name, ID: len(q.Name)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
		for i := range 20 {
			name := fmt.Sprint("Ana", i)
			require.NoError(t, client.Send(t.Context(), query{name}))
			got, err := client.Receive(t.Context())
			require.NoError(t, err)
			require.Equal(t, student{Name: name, ID: len(name)}, got)
		}
		require.NoError(t, near.Close())
		wg.Wait()
	}
}

// TestGobTypesOnce: on one connection gob describes each type once, and the
// messages after the first are shorter for it.
func TestGobTypesOnce(t *testing.T) {
	near, far := pipe(t, nil)
	out := codec.NewStream[student, int](near, codec.Gob{})
	in := codec.NewStream[int, student](far, codec.Gob{})
	var sizes []int64
	for range 3 {
		before := far.Stats().PayloadIn
		go func() { _ = out.Send(t.Context(), student{"Ana", 1, "555"}) }()
		_, err := in.Receive(t.Context())
		require.NoError(t, err)
		sizes = append(sizes, far.Stats().PayloadIn-before)
	}
	alone, err := codec.Gob{}.Marshal(student{"Ana", 1, "555"})
	require.NoError(t, err)
	require.EqualValues(t, len(alone), sizes[0])
	require.Less(t, sizes[1], sizes[0]/2)
	require.Equal(t, sizes[1], sizes[2])
}

// TestManySenders: any number of goroutines may send; every value arrives whole,
// and with gob the types before the values.
func TestManySenders(t *testing.T) {
	for _, c := range values() {
		near, far := pipe(t, nil)
		out := codec.NewStream[student, int](near, c)
		in := codec.NewStream[int, student](far, c)
		const senders, each = 8, 25
		var wg sync.WaitGroup
		for s := range senders {
			wg.Go(func() {
				for i := range each {
					if err := out.Send(t.Context(), student{Name: fmt.Sprint(s), ID: i}); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		next := map[string]int{}
		for range senders * each {
			got, err := in.Receive(t.Context())
			require.NoError(t, err)
			require.Equal(t, next[got.Name], got.ID, "one sender's values keep their order")
			next[got.Name]++
		}
		wg.Wait()
	}
}

// A script is a connection that gives what was written into it.
type script struct {
	bytes.Buffer
}

func framed(t testing.TB, msgs ...[]byte) *script {
	s := new(script)
	for _, m := range msgs {
		out, err := framing.Append(framing.Prefix{}, nil, m)
		require.NoError(t, err)
		s.Write(out)
	}
	return s
}

// TestRefusedMessage: a message that is no value is reported, and the connection
// goes on with the next, except with gob.
func TestRefusedMessage(t *testing.T) {
	for _, c := range values() {
		good, err := c.Marshal(query{"Ana"})
		require.NoError(t, err)
		for what, bad := range map[string][]byte{
			"garbage": []byte("\xc1\xc1\xc1"), "empty": nil, "another type": mustMarshal(t, c, "Ana"),
			"more": append(bytes.Clone(good), 'x'), "large": make([]byte, 3000),
		} {
			conn := framing.NewConn(framed(t, bad, good), nil, &framing.Config{MaxSize: 2000})
			in := codec.NewStream[int, query](conn, c)
			got, err := in.Receive(t.Context())
			require.Error(t, err, "%s %s", c.Name(), what)
			require.Zero(t, got, "%s %s", c.Name(), what)
			if what == "large" {
				require.ErrorIs(t, err, framing.ErrTooLarge)
			} else {
				_, ok := errors.AsType[*codec.Error](err)
				require.True(t, ok, "%s %s: %v", c.Name(), what, err)
			}
			got, again := in.Receive(t.Context())
			if c.Name() == "gob" {
				require.Equal(t, err, again, what)
				continue
			}
			require.NoError(t, again, "%s %s", c.Name(), what)
			require.Equal(t, query{"Ana"}, got)

			// The same by iteration.
			conn = framing.NewConn(framed(t, good, bad, good), nil, &framing.Config{MaxSize: 2000})
			var seen []bool
			for _, err := range codec.NewStream[int, query](conn, c).Messages(t.Context()) {
				seen = append(seen, err == nil)
			}
			require.Equal(t, []bool{true, false, true}, seen, "%s %s", c.Name(), what)
		}
	}
	conn := framing.NewConn(framed(t, []byte("\x01")), nil, nil)
	in := codec.NewStream[int, query](conn, codec.Gob{})
	n := 0
	for range 2 {
		for _, err := range in.Messages(t.Context()) {
			require.Error(t, err)
			n++
		}
	}
	require.Equal(t, 2, n, "reported each time, and the iteration ends")
}

func mustMarshal(t *testing.T, c codec.Codec, v any) []byte {
	t.Helper()
	b, err := c.Marshal(v)
	require.NoError(t, err)
	return b
}

// TestStreamEnds tells the clean end from a cut.
func TestStreamEnds(t *testing.T) {
	for _, c := range values() {
		wire := framed(t, mustMarshal(t, c, query{"Ana"})).Bytes()
		in := codec.NewStream[int, query](framing.NewConn(&script{*bytes.NewBuffer(bytes.Clone(wire))}, nil, nil), c)
		_, err := in.Receive(t.Context())
		require.NoError(t, err)
		_, err = in.Receive(t.Context())
		require.Equal(t, io.EOF, err)
		in = codec.NewStream[int, query](framing.NewConn(&script{*bytes.NewBuffer(wire[:len(wire)-1])}, nil, nil), c)
		_, err = in.Receive(t.Context())
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
}

// TestSendErrors: what cannot be encoded is not sent; the connection goes on,
// except with gob, which would not repeat the types that went down with it.
func TestSendErrors(t *testing.T) {
	for _, c := range values() {
		near, far := pipe(t, nil)
		out := codec.NewStream[any, int](near, c)
		err := out.Send(t.Context(), make(chan int))
		require.ErrorIs(t, err, codec.ErrUnfit, c.Name())
		if c.Name() == "gob" {
			require.Equal(t, err, out.Send(t.Context(), 1))
			continue
		}
		go func() { _ = out.Send(t.Context(), 1) }()
		got, err := codec.NewStream[int, int](far, c).Receive(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, got)
	}
}

// TestContexts: a wait ends with its context, on both sides, and the receiver
// goes on where it stopped.
func TestContexts(t *testing.T) {
	for _, c := range values() {
		synctest.Test(t, func(t *testing.T) {
			near, far := pipe(t, nil)
			out := codec.NewStream[query, int](near, c)
			in := codec.NewStream[int, query](far, c)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := in.Receive(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			go func() { _ = out.Send(context.Background(), query{"Ana"}) }()
			got, err := in.Receive(t.Context())
			require.NoError(t, err)
			require.Equal(t, query{"Ana"}, got)

			// One sender waits for the peer, another for the first.
			ctx, cancel = context.WithTimeout(t.Context(), time.Minute/2)
			defer cancel()
			results := make(chan error, 2)
			for range 2 {
				go func() { results <- out.Send(ctx, query{"Luis"}) }()
			}
			require.ErrorIs(t, <-results, context.DeadlineExceeded)
			require.ErrorIs(t, <-results, context.DeadlineExceeded)
			require.ErrorIs(t, out.Send(ctx, query{}), context.DeadlineExceeded)
			near.Close()
			_, err = in.Receive(t.Context())
			require.Error(t, err)
		})
	}
}

// TestGobTypesBounded: a peer that describes type after type, which a decoder
// keeps for ever, is stopped.
func TestGobTypesBounded(t *testing.T) {
	msg := mustMarshal(t, codec.Gob{}, []student{{"Ana", 1, "555"}})
	for limit, want := range map[int]error{len(msg): codec.ErrTooLarge, 3 * len(msg): codec.ErrMalformed} {
		in := codec.NewStream[int, []student](framing.NewConn(framed(t, msg, msg), nil, nil), codec.Gob{MaxSize: limit})
		_, err := in.Receive(t.Context())
		require.NoError(t, err)
		_, err = in.Receive(t.Context())
		require.ErrorIs(t, err, want, "the same types again")
	}
}

// TestStreamPeer: an error says who sent what could not be decoded.
func TestStreamPeer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer near.Close()
	far, err := ln.Accept()
	require.NoError(t, err)
	defer far.Close()
	_, err = near.Write(append(binary.BigEndian.AppendUint32(nil, 3), "nul"...))
	require.NoError(t, err)
	_, err = codec.NewStream[int, int](framing.NewConn(far, nil, nil), nil).Receive(t.Context())
	require.EqualError(t, err, "codec: receive from "+near.LocalAddr().String()+": json: decode: byte 3: the text ends too early")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}
