package framing_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/framing"
)

// pair returns two connections to each other in memory.
func pair(t *testing.T, f framing.Format, cfg *framing.Config) (a *framing.Conn, b *framing.Conn, raw net.Conn) {
	t.Helper()
	x, y := net.Pipe()
	a, b = framing.NewConn(x, f, cfg), framing.NewConn(y, f, cfg)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b, y
}

// TestConnTimeouts: what limits each wait, in virtual time.
func TestConnTimeouts(t *testing.T) {
	// What the peer does, how the connection is set up, and after how long
	// Receive gives up.
	for _, c := range []struct {
		name string
		cfg  framing.Config
		peer func(ctx context.Context, raw net.Conn)
		want time.Duration
		text string
	}{
		{"a silent peer", framing.Config{IdleTimeout: 5 * time.Second}, nil, 5 * time.Second, "no message within 5s"},
		{"half a header", framing.Config{IdleTimeout: time.Second, ReadTimeout: 3 * time.Second}, func(_ context.Context, raw net.Conn) {
			_, _ = raw.Write([]byte{0, 0})
		}, 3 * time.Second, "came to a halt for 3s"},
		{"a byte a second", framing.Config{ReadTimeout: 3500 * time.Millisecond}, func(ctx context.Context, raw net.Conn) {
			_, _ = raw.Write([]byte{0, 0, 1, 0})
			for ctx.Err() == nil {
				time.Sleep(time.Second)
				_, _ = raw.Write([]byte{'x'})
			}
		}, 3500 * time.Millisecond, "came to a halt"},
		{"64 KiB in time, then silence", framing.Config{ReadTimeout: 3 * time.Second}, func(_ context.Context, raw net.Conn) {
			time.Sleep(2 * time.Second) // idle: no limit
			_, _ = raw.Write([]byte{0, 2, 0, 0})
			time.Sleep(2 * time.Second)
			_, _ = raw.Write(make([]byte, 80<<10))
		}, 7 * time.Second, "came to a halt"},
		{"the default", framing.Config{}, func(_ context.Context, raw net.Conn) {
			_, _ = raw.Write([]byte{0})
		}, time.Minute, "came to a halt for 1m0s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, _, raw := pair(t, nil, &c.cfg)
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				defer wg.Wait()
				defer raw.Close()
				defer cancel()
				if c.peer != nil {
					wg.Go(func() { c.peer(ctx, raw) })
				}
				start := time.Now()
				_, err := a.Receive(context.Background())
				require.Equal(t, c.want, time.Since(start))
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
				require.ErrorContains(t, err, c.text)
				var ne net.Error
				require.ErrorAs(t, err, &ne)
				require.True(t, ne.Timeout())
			})
		})
	}
}

// TestReceiveContext: a context ends a wait, inside a message too, and the next
// call goes on.
func TestReceiveContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, raw := pair(t, nil, nil)
		cause := errors.New("enough")
		receive := func() ([]byte, error) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
			defer cancel()
			return a.Receive(ctx)
		}
		_, err := receive()
		require.ErrorIs(t, err, cause)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = raw.Write([]byte{0, 0})
			time.Sleep(1700 * time.Millisecond)
			_, _ = raw.Write([]byte{0, 2, 'h'})
			time.Sleep(1700 * time.Millisecond)
			_, _ = raw.Write([]byte{'i'})
		}()
		tries := 0
		for {
			tries++
			msg, err := receive()
			if err == nil {
				require.Equal(t, "hi", string(msg))
				break
			}
			require.ErrorIs(t, err, cause)
		}
		require.Equal(t, 4, tries)
		<-done

		over, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		_, err = a.Receive(over)
		require.ErrorIs(t, err, cause)
		_, _, err = a.NextReader(over)
		require.ErrorIs(t, err, cause)
		require.ErrorIs(t, a.Send(over, []byte("x")), cause)
		_, err = a.NextWriter(over, 1)
		require.ErrorIs(t, err, cause)
	})
}

// TestSendLimits: a peer that does not read ends a Send by time limit or by
// context, and the stream is of no more use.
func TestSendLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, _ := pair(t, nil, &framing.Config{WriteTimeout: 3 * time.Second})
		start := time.Now()
		err := a.Send(t.Context(), make([]byte, 128<<10))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 9*time.Second, time.Since(start), "3 s for each 64 KiB begun")
		require.ErrorIs(t, a.Send(t.Context(), []byte("x")), os.ErrDeadlineExceeded)

		b, _, _ := pair(t, nil, nil)
		cause := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		require.ErrorIs(t, b.Send(ctx, []byte("x")), cause)

		// Who waits for another sender leaves with its own context.
		c, _, _ := pair(t, nil, nil)
		w, err := c.NextWriter(t.Context(), 1)
		require.NoError(t, err)
		ctx, cancel = context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		require.ErrorIs(t, c.Send(ctx, []byte("x")), cause)
		require.Error(t, w.Close(), "a byte is missing")
	})
}

// TestManySenders: messages of many goroutines do not mix, streamed and batched
// ones included.
func TestManySenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _ := pair(t, framing.SLIP{}, nil)
		ctx := t.Context()
		var wg sync.WaitGroup
		errs := make(chan error, 20*10)
		for i := range 20 {
			msg := bytes.Repeat([]byte{byte(i + 1)}, 1000+i)
			wg.Go(func() {
				for range 10 {
					errs <- func() error {
						switch i % 3 {
						case 0:
							return a.Send(ctx, msg, msg)
						case 1:
							return errors.Join(a.Queue(ctx, msg), a.Queue(ctx, msg), a.Flush(ctx))
						}
						for range 2 {
							w, err := a.NextWriter(ctx, -1)
							if err != nil {
								return err
							}
							for rest := msg; len(rest) > 0; rest = rest[min(len(rest), 100):] {
								if _, err := w.Write(rest[:min(len(rest), 100)]); err != nil {
									return err
								}
							}
							if err := errors.Join(w.Close(), w.Close()); err != nil {
								return err
							}
						}
						return nil
					}()
				}
			})
		}
		go func() { wg.Wait(); close(errs) }()
		count := map[byte]int{}
		for range 400 {
			msg, err := b.Receive(ctx)
			require.NoError(t, err)
			require.Len(t, msg, 1000+int(msg[0])-1)
			require.Equal(t, bytes.Repeat(msg[:1], len(msg)), msg)
			count[msg[0]]++
		}
		for err := range errs {
			require.NoError(t, err)
		}
		require.Len(t, count, 20)
		require.EqualValues(t, 400, a.Stats().MessagesOut)
		require.EqualValues(t, 400, b.Stats().MessagesIn)
		require.Equal(t, a.Stats().PayloadOut, b.Stats().PayloadIn)
	})
}

// TestStreamedBothWays: large messages through NextWriter and NextReader, and
// what is left unread is skipped.
func TestStreamedBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _ := pair(t, nil, nil)
		ctx := t.Context()
		const size = 10 << 20
		sent := make(chan error, 1)
		go func() {
			for range 2 {
				w, err := a.NextWriter(ctx, size)
				if err != nil {
					sent <- err
					return
				}
				_, err = io.CopyN(w, zeros{}, size)
				if err = errors.Join(err, w.Close()); err != nil {
					sent <- err
					return
				}
			}
			sent <- a.Send(ctx, []byte("after"))
		}()
		r, n, err := b.NextReader(ctx)
		require.NoError(t, err)
		require.EqualValues(t, size, n)
		got, err := io.Copy(io.Discard, r)
		require.NoError(t, err)
		require.EqualValues(t, size, got)

		stale := r
		r, _, err = b.NextReader(ctx)
		require.NoError(t, err)
		_, err = stale.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err, "a reader ends with its message")
		_, err = io.CopyN(io.Discard, r, 1000)
		require.NoError(t, err)
		msg, err := b.Receive(ctx)
		require.NoError(t, err)
		require.Equal(t, "after", string(msg))
		require.NoError(t, <-sent)

		_, err = a.NextWriter(ctx, -1)
		require.ErrorIs(t, err, framing.ErrUnknownSize)
		go func() { sent <- a.Send(ctx, []byte("still usable")) }()
		_, err = b.Receive(ctx)
		require.NoError(t, err)
		require.NoError(t, <-sent)
	})
}

// TestMessageWriter: what is written can be flushed before the message is over,
// and a message that is given up ends the stream for sending.
func TestMessageWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _ := pair(t, framing.SLIP{}, nil)
		got := make(chan string)
		go func() {
			defer close(got)
			r, _, err := b.NextReader(context.Background())
			buf := make([]byte, 100)
			for n := 0; err == nil; {
				if n, err = r.Read(buf); n > 0 {
					got <- string(buf[:n])
				}
			}
		}()
		w, err := a.NextWriter(t.Context(), -1)
		require.NoError(t, err)
		for _, piece := range []string{"one\xc0", "two\xdb"} {
			_, err = io.WriteString(w, piece)
			require.NoError(t, err)
			synctest.Wait()
			select {
			case early := <-got:
				t.Fatalf("%q came before Flush", early)
			default:
			}
			require.NoError(t, w.Flush())
			require.Equal(t, piece, <-got)
		}
		require.NoError(t, w.Close())
		require.NoError(t, w.Close())
		_, open := <-got
		require.False(t, open)
		_, err = io.WriteString(w, "late")
		require.Error(t, err)
		require.Error(t, w.Flush())
	})
	synctest.Test(t, func(t *testing.T) {
		a, _, _ := pair(t, nil, nil)
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		w, err := a.NextWriter(ctx, 10)
		require.NoError(t, err)
		_, err = io.WriteString(w, "hel")
		require.NoError(t, err)
		cancel(cause)
		_, err = io.WriteString(w, "lo")
		require.ErrorIs(t, err, cause)
		require.ErrorIs(t, w.Close(), cause)
		require.ErrorIs(t, a.Send(t.Context(), []byte("x")), cause)
	})
}

// TestStreamedReadTimes: a streamed message is held to the same time limits.
func TestStreamedReadTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, raw := pair(t, nil, &framing.Config{ReadTimeout: 3 * time.Second})
		go func() { _, _ = raw.Write([]byte{0, 0, 0, 9, 'x'}) }()
		r, _, err := a.NextReader(t.Context())
		require.NoError(t, err)
		start := time.Now()
		got, err := io.ReadAll(r)
		require.Equal(t, "x", string(got))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 3*time.Second, time.Since(start))
	})
}

// TestConnClose: Close ends calls that wait with net.ErrClosed, and so are
// later ones.
func TestConnClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _ := pair(t, nil, nil)
		errs := make(chan error, 2)
		go func() { _, err := a.Receive(context.Background()); errs <- err }()
		go func() { errs <- a.Send(context.Background(), []byte("x")) }()
		synctest.Wait()
		require.NoError(t, a.Close())
		require.NoError(t, a.Close())
		require.ErrorIs(t, <-errs, net.ErrClosed)
		require.ErrorIs(t, <-errs, net.ErrClosed)
		_, err := a.Receive(t.Context())
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = b.Receive(t.Context())
		require.Equal(t, io.EOF, err)
		require.ErrorIs(t, b.CloseWrite(), errors.ErrUnsupported)
	})
}

// TestConnOverAnything: a Conn works on streams that are no connections.
func TestConnOverAnything(t *testing.T) {
	var both bytes.Buffer
	c := framing.NewConn(&both, framing.Netstring{}, nil)
	require.NoError(t, c.Send(t.Context(), []byte("hello"), []byte("world")))
	require.Equal(t, "5:hello,5:world,", both.String())
	var got []string
	for msg, err := range c.Messages(t.Context()) {
		require.NoError(t, err)
		got = append(got, string(msg))
	}
	require.Equal(t, []string{"hello", "world"}, got)
	require.Nil(t, c.RemoteAddr())
	require.Equal(t, &both, c.Stream())
	require.NoError(t, c.Close())
	require.ErrorIs(t, c.Send(t.Context(), make([]byte, 10), nil), nil, "nothing to close, nothing closed")
}

// TestConnErrors name the peer and what was tried.
func TestConnErrors(t *testing.T) {
	near, far := tcpPair(t)
	c := framing.NewConn(near, framing.Delimiter{}, nil)
	err := c.Send(t.Context(), []byte("a\nb"))
	require.ErrorIs(t, err, framing.ErrUnfit)
	require.Equal(t, fmt.Sprintf(`framing: send %v: the format cannot carry this message: Delimiter: it contains the delimiter "\n"`, far.LocalAddr()), err.Error())
	far.Close()
	_, err = c.Receive(t.Context())
	require.Equal(t, io.EOF, err)
}

// TestTCPFailures: what a real peer can do to a connection: end it cleanly, cut
// it inside a message, reset it, send two at once.
func TestTCPFailures(t *testing.T) {
	ctx := t.Context()
	near, far := tcpPair(t)
	c := framing.NewConn(near, nil, nil)
	_, err := far.Write([]byte("\x00\x00\x00\x05hello\x00\x00\x00\x05wor"))
	require.NoError(t, err)
	require.NoError(t, far.(*net.TCPConn).CloseWrite())
	msg, err := c.Receive(ctx)
	require.NoError(t, err)
	require.Equal(t, "hello", string(msg))
	_, err = c.Receive(ctx)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.ErrorContains(t, err, "after 3 of 5 bytes")
	require.NoError(t, c.Send(ctx, []byte("one direction is left")))
	require.NoError(t, c.CloseWrite())
	got, err := io.ReadAll(far)
	require.NoError(t, err)
	require.Len(t, got, 4+21)

	near, far = tcpPair(t)
	c = framing.NewConn(near, nil, nil)
	require.NoError(t, far.(*net.TCPConn).SetLinger(0))
	far.Close()
	_, err = c.Receive(ctx)
	require.Error(t, err)
	require.NotErrorIs(t, err, io.EOF)
	require.NotErrorIs(t, err, net.ErrClosed, "the peer's reset is not our Close")
}

// pipeListener is a net.Listener in memory, for servers on virtual time.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	fail   chan error // errors for Accept to return
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{}), fail: make(chan error)}
}

func (l *pipeListener) dial() net.Conn {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
	case <-l.closed:
		near.Close()
	}
	return near
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case err := <-l.fail:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "pipe"} }

// serve runs s on a listener in memory until the test ends.
func serve(t *testing.T, s *framing.Server) *pipeListener {
	t.Helper()
	ln := newPipeListener()
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		s.Close()
		require.ErrorIs(t, <-done, framing.ErrServerClosed)
	})
	return ln
}

// ask sends one message and returns the answer.
func ask(t *testing.T, c *framing.Conn, question string) string {
	t.Helper()
	require.NoError(t, c.Send(t.Context(), []byte(question)))
	answer, err := c.Receive(t.Context())
	require.NoError(t, err)
	return string(answer)
}

// TestServerZero: the zero Server echoes, to many at a time.
func TestServerZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := serve(t, &framing.Server{})
		var clients []*framing.Conn
		for range 10 {
			c := framing.NewConn(ln.dial(), nil, nil)
			defer c.Close()
			clients = append(clients, c)
		}
		for i, c := range clients {
			require.Equal(t, fmt.Sprint(i), ask(t, c, fmt.Sprint(i)))
		}
	})
}

// TestServerLimits: connections beyond the limit wait for a place; a silent
// one gives its place up after the idle time.
func TestServerLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := serve(t, &framing.Server{MaxConns: 2})
		silent := ln.dial()
		defer silent.Close()
		busy := framing.NewConn(ln.dial(), nil, nil)
		defer busy.Close()
		start := time.Now()
		go func() { // keeps its place
			for time.Since(start) < 3*time.Minute {
				if busy.Send(context.Background(), []byte("here")) != nil {
					return
				}
				if _, err := busy.Receive(context.Background()); err != nil {
					return
				}
				time.Sleep(10 * time.Second)
			}
		}()
		third := framing.NewConn(ln.dial(), nil, nil) // waits for Accept
		defer third.Close()
		require.Equal(t, time.Minute, time.Since(start))
		require.Equal(t, "hi", ask(t, third, "hi"))
		_, err := silent.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		time.Sleep(3 * time.Minute)
	})
}

// TestServerBadPeers: each of these loses its own connection and nothing else.
func TestServerBadPeers(t *testing.T) {
	for name, attack := range map[string]func(net.Conn){
		"claims 4 GiB":       func(c net.Conn) { _, _ = c.Write([]byte("\xff\xff\xff\xffGET / HTTP/1.1\r\n\r\n")) },
		"cuts a message":     func(c net.Conn) { _, _ = c.Write([]byte("\x00\x00\x00\x09cut")); c.Close() },
		"half a header":      func(c net.Conn) { _, _ = c.Write([]byte("\x00")) },
		"says nothing":       func(net.Conn) {},
		"leaves at once":     func(c net.Conn) { c.Close() },
		"never reads":        func(c net.Conn) { _, _ = c.Write([]byte("\x00\x00\x00\x02hi")) },
		"makes it panic":     func(c net.Conn) { _, _ = c.Write([]byte("\x00\x00\x00\x05panic")) },
		"makes it fail":      func(c net.Conn) { _, _ = c.Write([]byte("\x00\x00\x00\x04fail")) },
		"sends without end":  func(c net.Conn) { _, _ = io.Copy(c, zeros{}) },
		"sends only garbage": func(c net.Conn) { _, _ = io.Copy(c, strings.NewReader(strings.Repeat("garbage ", 1000))) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var closed []error
				var mu sync.Mutex
				s := &framing.Server{
					Handler: framing.Reply(func(_ context.Context, msg []byte) ([]byte, error) {
						switch string(msg) {
						case "panic":
							panic("as told")
						case "fail":
							return nil, errors.New("as told")
						}
						return msg, nil
					}),
					Config: framing.Config{Trace: &framing.Trace{Closed: func(_ *framing.Conn, err error) {
						mu.Lock()
						defer mu.Unlock()
						closed = append(closed, err)
					}}},
				}
				ln := serve(t, s)
				good := framing.NewConn(ln.dial(), nil, nil)
				defer good.Close()
				bad := ln.dial()
				var wg sync.WaitGroup
				wg.Go(func() { attack(bad) })
				for range 20 { // longer than any time limit
					require.Equal(t, "still here", ask(t, good, "still here"))
					time.Sleep(10 * time.Second)
				}
				bad.Close()
				wg.Wait()
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				require.Len(t, closed, 1)
				if name != "leaves at once" {
					require.Error(t, closed[0])
				}
			})
		})
	}
}

// TestShutdownDrains: the message at hand is received and answered, idle
// connections end at once, new ones are not accepted.
func TestShutdownDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := make(chan struct{}, 1)
		s := &framing.Server{Handler: framing.Reply(func(_ context.Context, msg []byte) ([]byte, error) {
			started <- struct{}{}
			time.Sleep(time.Second)
			return bytes.ToUpper(msg), nil
		})}
		ln := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- s.Serve(context.Background(), ln) }()

		idle, working, receiving := ln.dial(), ln.dial(), ln.dial()
		_, err := receiving.Write([]byte("\x00\x00\x00\x05sl"))
		require.NoError(t, err)
		_, err = working.Write([]byte("\x00\x00\x00\x04work"))
		require.NoError(t, err)
		<-started
		synctest.Wait()

		start := time.Now()
		shut := make(chan error, 1)
		go func() { shut <- s.Shutdown(context.Background()) }()
		require.ErrorIs(t, <-served, framing.ErrServerClosed)
		_, err = idle.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		require.Zero(t, time.Since(start))

		got, err := io.ReadAll(working)
		require.NoError(t, err)
		require.Equal(t, "\x00\x00\x00\x04WORK", string(got))
		require.Equal(t, time.Second, time.Since(start))

		time.Sleep(5 * time.Second)
		_, err = receiving.Write([]byte("ow\n"))
		require.NoError(t, err)
		got, err = io.ReadAll(receiving)
		require.NoError(t, err)
		require.Equal(t, "\x00\x00\x00\x05SLOW\n", string(got))
		require.NoError(t, <-shut)
		require.ErrorIs(t, s.Serve(t.Context(), newPipeListener()), framing.ErrServerClosed)
	})
}

// TestShutdownGivesUp: Shutdown obeys its context, and Close then ends what is
// left, contexts of handlers included.
func TestShutdownGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause error
		s := &framing.Server{Handler: func(ctx context.Context, _ *framing.Conn) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return cause
		}}
		ln := serve(t, s)
		defer ln.dial().Close()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, s.Shutdown(ctx), context.DeadlineExceeded)
		require.NoError(t, s.Close())
		require.ErrorIs(t, cause, framing.ErrServerClosed)
	})
}

// TestServeContext: when Serve's context ends the message at hand has the grace
// period, and then everything ends.
func TestServeContext(t *testing.T) {
	for _, c := range []struct {
		grace, work time.Duration
		answered    bool
		took        time.Duration
	}{
		{0, 500 * time.Millisecond, true, 500 * time.Millisecond},
		{0, 5 * time.Second, false, time.Second},
		{10 * time.Second, 5 * time.Second, true, 5 * time.Second},
		{-1, time.Second, false, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			started := make(chan struct{})
			s := &framing.Server{Grace: c.grace, Handler: framing.Reply(func(ctx context.Context, msg []byte) ([]byte, error) {
				close(started)
				select {
				case <-time.After(c.work):
					return msg, nil
				case <-ctx.Done():
					return nil, context.Cause(ctx)
				}
			})}
			ln := newPipeListener()
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- s.Serve(ctx, ln) }()
			idle, busy := ln.dial(), ln.dial()
			_, err := busy.Write([]byte("\x00\x00\x00\x02hi"))
			require.NoError(t, err)
			<-started
			start := time.Now()
			cancel()
			_, err = idle.Read(make([]byte, 1))
			require.Equal(t, io.EOF, err)
			got, err := io.ReadAll(busy)
			require.NoError(t, err)
			require.Equal(t, c.answered, len(got) == 6)
			require.ErrorIs(t, <-done, context.Canceled)
			require.Equal(t, c.took, time.Since(start))
		})
	}
}

// TestAcceptFailures: failures that pass are survived, those that stay are
// reported.
func TestAcceptFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &framing.Server{}
		ln := newPipeListener()
		done := make(chan error, 1)
		go func() { done <- s.Serve(context.Background(), ln) }()
		defer s.Close()
		boom := errors.New("too many open files")
		for range 8 {
			ln.fail <- boom
		}
		c := framing.NewConn(ln.dial(), nil, nil)
		defer c.Close()
		require.Equal(t, "hi", ask(t, c, "hi"))
		for range 9 {
			ln.fail <- boom
		}
		require.ErrorIs(t, <-done, boom)
	})
}

// TestFlood: far more connections than the limit, over real sockets: the server
// never holds more than its limit, and all are served in the end.
func TestFlood(t *testing.T) {
	var mu sync.Mutex
	open, most := 0, 0
	count := func(d int) {
		mu.Lock()
		defer mu.Unlock()
		open += d
		most = max(most, open)
	}
	s := &framing.Server{MaxConns: 10, Config: framing.Config{Trace: &framing.Trace{
		Opened: func(*framing.Conn) { count(1) },
		Closed: func(*framing.Conn, error) { count(-1) },
	}}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Serve(t.Context(), ln) }()
	var wg sync.WaitGroup
	errs := make(chan error, 100)
	for range 100 {
		wg.Go(func() {
			errs <- func() error {
				nc, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					return err
				}
				c := framing.NewConn(nc, nil, nil)
				defer c.Close()
				if err := c.Send(t.Context(), []byte("hello")); err != nil {
					return err
				}
				_, err = c.Receive(t.Context())
				return err
			}()
		})
	}
	wg.Wait()
	for range 100 {
		require.NoError(t, <-errs)
	}
	require.NoError(t, s.Shutdown(t.Context()))
	require.ErrorIs(t, <-done, framing.ErrServerClosed)
	require.LessOrEqual(t, most, 10)
}

// TestLinger: a client that is still sending when its connection is given up
// can read why, instead of losing the answer to a reset; and it is not waited
// for without end.
func TestLinger(t *testing.T) {
	for _, linger := range []time.Duration{time.Minute, 50 * time.Millisecond} {
		closed := make(chan struct{})
		s := &framing.Server{Linger: linger, Config: framing.Config{MaxSize: 10}, Handler: func(ctx context.Context, c *framing.Conn) error {
			if _, err := c.Receive(ctx); !errors.Is(err, framing.ErrTooLarge) {
				return err
			}
			return c.Send(ctx, []byte("too long"))
		}}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- s.Serve(context.Background(), ln) }()
		nc, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		c := framing.NewConn(nc, nil, nil)
		w, err := c.NextWriter(t.Context(), 10<<20)
		require.NoError(t, err)
		if linger == time.Minute {
			_, err = io.CopyN(w, zeros{}, 10<<20)
			require.NoError(t, err, "all of it is taken")
			require.NoError(t, w.Close())
		} else {
			_, err = w.Write(make([]byte, 100_000))
			require.NoError(t, err)
		}
		answer, err := c.Receive(t.Context())
		require.NoError(t, err)
		require.Equal(t, "too long", string(answer))
		if linger < time.Minute {
			// The server's patience ends by itself: then writing fails.
			go func() {
				defer close(closed)
				for err == nil {
					_, err = w.Write(make([]byte, 1000))
				}
			}()
			<-closed
		}
		c.Close()
		require.NoError(t, s.Shutdown(t.Context()))
		require.ErrorIs(t, <-done, framing.ErrServerClosed)
	}
}

// TestTrace: the callbacks see every message.
func TestTrace(t *testing.T) {
	var events []string
	cfg := &framing.Config{Trace: &framing.Trace{
		Received: func(_ *framing.Conn, n int64) { events = append(events, fmt.Sprint("received ", n)) },
		Sent:     func(_ *framing.Conn, n int64) { events = append(events, fmt.Sprint("sent ", n)) },
	}}
	var both bytes.Buffer
	c := framing.NewConn(&both, nil, cfg)
	require.NoError(t, c.Send(t.Context(), []byte("hi"), []byte("you")))
	_, err := c.Receive(t.Context())
	require.NoError(t, err)
	r, _, err := c.NextReader(t.Context())
	require.NoError(t, err)
	_, err = io.ReadAll(r)
	require.NoError(t, err)
	w, err := c.NextWriter(t.Context(), 0)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.Equal(t, []string{"sent 2", "sent 3", "received 2", "received 3", "sent 0"}, events)
}
