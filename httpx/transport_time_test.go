package httpx

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// A farNet is a network on virtual time: a client, and a server that is played
// by hand, ten milliseconds away.
type farNet struct {
	*Transport
	network simnet.Network
	here    *simnet.Host
	there   *simnet.Host
}

// far runs f on such a network, in a bubble. serve plays the server on each
// connection; n counts them from 1.
func far(t *testing.T, tr *Transport, serve func(n int, c net.Conn, br *bufio.Reader), f func(t *testing.T, far *farNet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &farNet{Transport: tr}
		w.network.Link = simnet.Link{Delay: 10 * time.Millisecond}
		w.here, w.there = w.network.Host(netip.MustParseAddr("10.0.0.1")), w.network.Host(netip.MustParseAddr("10.0.0.2"))
		ln, err := w.there.Listen("tcp", ":80")
		require.NoError(t, err)
		tr.Dial = w.here.DialContext
		var wg sync.WaitGroup
		wg.Go(func() {
			for n := 1; ; n++ {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				wg.Go(func() {
					defer c.Close()
					serve(n, c, bufio.NewReader(c))
				})
			}
		})
		f(t, w)
		tr.CloseIdleConnections()
		require.Zero(t, tr.Stats().Open)
		ln.Close()
		w.network.Close()
		wg.Wait()
	})
}

// get asks with a context and returns the whole body.
func (w *farNet) get(ctx context.Context) (string, error) {
	r, err := http.NewRequestWithContext(ctx, "GET", "http://10.0.0.2/", nil)
	if err != nil {
		return "", err
	}
	resp, err := w.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// after writes text once d has passed.
func after(d time.Duration, c net.Conn, text string) {
	time.Sleep(d)
	_, _ = io.WriteString(c, text)
}

func TestTransportTimeouts(t *testing.T) {
	const header = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
	for name, c := range map[string]struct {
		tr     *Transport
		answer func(c net.Conn)
		after  time.Duration
	}{
		"silence": {&Transport{}, func(net.Conn) {}, time.Minute},
		"a header drop by drop": {&Transport{}, func(c net.Conn) {
			for range 100 {
				after(time.Second, c, "H")
			}
		}, time.Minute},
		"interim responses without end": {&Transport{}, func(c net.Conn) {
			for range 15 {
				after(10*time.Second, c, "HTTP/1.1 103 Early Hints\r\n\r\n")
			}
		}, time.Minute},
		"a body that stops": {&Transport{}, func(c net.Conn) { after(0, c, header+"ab") }, time.Minute},
		"a chunk that stops in its first line": {&Transport{}, func(c net.Conn) {
			after(0, c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5")
		}, time.Minute},
		"a shorter patience":  {&Transport{HeaderTimeout: time.Second}, func(net.Conn) {}, time.Second},
		"the same for bodies": {&Transport{BodyTimeout: time.Second}, func(c net.Conn) { after(0, c, header) }, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			far(t, c.tr, func(_ int, conn net.Conn, br *bufio.Reader) {
				http.ReadRequest(br)
				c.answer(conn)
				io.Copy(io.Discard, br)
			}, func(t *testing.T, w *farNet) {
				start := time.Now()
				_, err := w.get(t.Context())
				failure, ok := errors.AsType[*TransportError](err)
				require.True(t, ok && failure.Timeout(), "%v", err)
				require.ErrorContains(t, err, "10.0.0.2:80")
				require.InDelta(t, c.after.Seconds(), time.Since(start).Seconds(), 0.1)
			})
		})
	}
	t.Run("slow is not dead", func(t *testing.T) {
		far(t, new(Transport), func(_ int, conn net.Conn, br *bufio.Reader) {
			http.ReadRequest(br)
			after(59*time.Second, conn, header)
			for range 4 {
				after(59*time.Second, conn, "x")
			}
		}, func(t *testing.T, w *farNet) {
			body, err := w.get(t.Context())
			require.NoError(t, err)
			require.Equal(t, "xxxx", body)
		})
	})
}

func TestTransportDialTimeout(t *testing.T) {
	far(t, new(Transport), func(int, net.Conn, *bufio.Reader) {}, func(t *testing.T, w *farNet) {
		w.network.SetLink(w.here.Addr(), w.there.Addr(), simnet.Link{Down: true})
		start := time.Now()
		_, err := w.get(t.Context())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 30*time.Second, time.Since(start))
	})
}

// A peer that does not take a body must not hold us up for ever.
func TestTransportWriteTimeout(t *testing.T) {
	far(t, new(Transport), func(_ int, c net.Conn, br *bufio.Reader) {
		io.ReadFull(br, make([]byte, 100))
		time.Sleep(time.Hour)
	}, func(t *testing.T, w *farNet) {
		r, err := http.NewRequest("POST", "http://10.0.0.2/", strings.NewReader(strings.Repeat("x", 10<<20)))
		require.NoError(t, err)
		start := time.Now()
		_, err = w.RoundTrip(r)
		require.True(t, isTimeout(err), "%v", err)
		require.InDelta(t, 61, time.Since(start).Seconds(), 1)
	})
}

func TestTransportIdle(t *testing.T) {
	far(t, &Transport{MaxIdle: 2}, answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), func(t *testing.T, w *farNet) {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := w.get(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.Equal(t, TransportStats{Requests: 4, Dialled: 4, Open: 2, Idle: 2}, w.Stats())
		time.Sleep(80 * time.Second)
		_, err := w.get(t.Context())
		require.NoError(t, err)
		time.Sleep(15 * time.Second) // 95: the other one is too old now
		require.Equal(t, 1, w.Stats().Open)
		time.Sleep(80 * time.Second)
		require.Zero(t, w.Stats().Open)
	})
}

// A server that closes, or talks, on a connection nobody uses: it is not used
// any more, so that even a POST is safe.
func TestTransportIdleEnds(t *testing.T) {
	for name, farewell := range map[string]string{"closes": "", "says so first": "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			far(t, new(Transport), func(_ int, c net.Conn, br *bufio.Reader) {
				http.ReadRequest(br)
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				after(time.Second, c, farewell)
			}, func(t *testing.T, w *farNet) {
				for range 3 {
					resp, err := (&http.Client{Transport: w.Transport}).Post("http://10.0.0.2/", "text/plain", strings.NewReader("x"))
					require.Equal(t, "ok", readAll(t, resp, err))
					time.Sleep(2 * time.Second)
					require.Zero(t, w.Stats().Open)
				}
			})
		})
	}
}

func TestTransportContinue(t *testing.T) {
	for name, c := range map[string]struct {
		serve func(c net.Conn, br *bufio.Reader)
		took  time.Duration
	}{
		"asked for": {func(c net.Conn, br *bufio.Reader) {
			after(300*time.Millisecond, c, "HTTP/1.1 100 Continue\r\n\r\n")
		}, 340 * time.Millisecond},
		"not known to the server": {func(net.Conn, *bufio.Reader) {}, 1040 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			far(t, new(Transport), func(_ int, conn net.Conn, br *bufio.Reader) {
				r, err := http.ReadRequest(br)
				if err != nil {
					return
				}
				c.serve(conn, br)
				body, _ := io.ReadAll(r.Body)
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+string(body))
			}, func(t *testing.T, w *farNet) {
				r, err := http.NewRequest("PUT", "http://10.0.0.2/", strings.NewReader("the body"))
				require.NoError(t, err)
				r.Header.Set("Expect", "100-continue")
				start := time.Now()
				resp, err := w.RoundTrip(r)
				require.Equal(t, "the body", readAll(t, resp, err))
				require.InDelta(t, c.took.Seconds(), time.Since(start).Seconds(), 0.03)
			})
		})
	}
}

// Who waits for 100 Continue does not outlive the connection that it would come on.
func TestTransportContinueNever(t *testing.T) {
	far(t, &Transport{ContinueTimeout: -1}, func(_ int, conn net.Conn, br *bufio.Reader) {
		http.ReadRequest(br)
	}, func(t *testing.T, w *farNet) {
		r, err := http.NewRequest("PUT", "http://10.0.0.2/", strings.NewReader("the body"))
		require.NoError(t, err)
		r.Header.Set("Expect", "100-continue")
		_, err = w.RoundTrip(r)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		// The bubble would not end with a goroutine that waits for ever.
	})
}

// The end of the context ends a request wherever it is.
func TestTransportCancel(t *testing.T) {
	reason := errors.New("reason of the test")
	for name, c := range map[string]struct {
		method string
		body   func() io.Reader
		answer string
		when   time.Duration
	}{
		"before":                      {"GET", nil, "", 0},
		"while connecting":            {"GET", nil, "", 5 * time.Millisecond},
		"while waiting for an answer": {"GET", nil, "", time.Second},
		"in the header":               {"GET", nil, "HTTP/1.1 200 OK\r\n", time.Second},
		"in the body":                 {"GET", nil, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", time.Second},
		"while sending":               {"POST", func() io.Reader { return strings.NewReader(strings.Repeat("x", 10<<20)) }, "", time.Second},
		"while waiting for a body": {"POST", func() io.Reader {
			r, _ := io.Pipe() // closed by the transport
			return r
		}, "", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			far(t, new(Transport), func(_ int, conn net.Conn, br *bufio.Reader) {
				if c.method == "GET" {
					http.ReadRequest(br)
				}
				io.WriteString(conn, c.answer)
				time.Sleep(time.Minute)
			}, func(t *testing.T, w *farNet) {
				ctx, cancel := context.WithTimeoutCause(t.Context(), c.when, reason)
				defer cancel()
				var body io.Reader
				if c.body != nil {
					body = c.body()
				}
				r, err := http.NewRequestWithContext(ctx, c.method, "http://10.0.0.2/", body)
				require.NoError(t, err)
				start := time.Now()
				resp, err := w.RoundTrip(r)
				if err == nil {
					_, err = io.ReadAll(resp.Body)
					resp.Body.Close()
				}
				require.ErrorIs(t, err, reason)
				require.Equal(t, c.when, time.Since(start))
			})
		})
	}
	t.Run("while waiting for a connection", func(t *testing.T) {
		far(t, &Transport{MaxConns: 1}, func(_ int, conn net.Conn, br *bufio.Reader) {
			for {
				if _, err := http.ReadRequest(br); err != nil {
					return
				}
				after(time.Second, conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		}, func(t *testing.T, w *farNet) {
			var wg sync.WaitGroup
			for i := range 4 {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * time.Millisecond)
					ctx, cancel := context.WithCancelCause(t.Context())
					defer cancel(nil)
					if i == 1 {
						time.AfterFunc(500*time.Millisecond, func() { cancel(reason) })
					}
					body, err := w.get(ctx)
					if i == 1 && !errors.Is(err, reason) || i != 1 && (err != nil || body != "ok") {
						t.Errorf("request %d: %q %v", i, body, err)
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, 1, w.Stats().Dialled)
		})
	})
}

// A Close from elsewhere ends a Read that waits.
func TestTransportCloseWhileReading(t *testing.T) {
	far(t, new(Transport), func(_ int, conn net.Conn, br *bufio.Reader) {
		http.ReadRequest(br)
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
		io.Copy(io.Discard, br)
	}, func(t *testing.T, w *farNet) {
		r, err := http.NewRequest("GET", "http://10.0.0.2/", nil)
		require.NoError(t, err)
		resp, err := w.RoundTrip(r)
		require.NoError(t, err)
		time.AfterFunc(time.Second, func() { resp.Body.Close() })
		body, err := io.ReadAll(resp.Body)
		require.ErrorIs(t, err, http.ErrBodyReadAfterClose)
		require.Equal(t, "abc", string(body))
		synctest.Wait()
	})
}
