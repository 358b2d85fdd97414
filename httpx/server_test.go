package httpx

import (
	"bufio"
	"context"
	"errors"
	"fmt"
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

// A serverLab is a server on a network in memory, on virtual time.
type serverLab struct {
	t      *testing.T
	server *Server
	served chan error
	client *simnet.Host
	stop   context.CancelCauseFunc // of Serve's context
}

func inServerLab(t *testing.T, s *Server, f func(t *testing.T, l *serverLab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := &simnet.Network{}
		defer network.Close()
		ln, err := network.Host(netip.MustParseAddr("10.0.0.1")).Listen("tcp", ":80")
		require.NoError(t, err)
		ctx, stop := context.WithCancelCause(t.Context())
		l := &serverLab{t, s, make(chan error, 1), network.Host(netip.MustParseAddr("10.0.0.2")), stop}
		go func() { l.served <- s.Serve(ctx, ln); close(l.served) }()
		f(t, l)
		require.NoError(t, s.Close())
		<-l.served
	})
}

func (l *serverLab) dial() net.Conn {
	l.t.Helper()
	nc, err := l.client.DialContext(l.t.Context(), "tcp", "10.0.0.1:80")
	require.NoError(l.t, err)
	l.t.Cleanup(func() { nc.Close() })
	return nc
}

// ask sends text on a connection of its own and returns all that comes back until
// the server closes it.
func (l *serverLab) ask(text string) string {
	l.t.Helper()
	nc := l.dial()
	defer nc.Close()
	_, _ = io.WriteString(nc, text) // the server may close before it has read all
	answer, _ := io.ReadAll(nc)
	return string(answer)
}

// expect reads one response from the connection.
func (l *serverLab) expect(br *bufio.Reader, status int, body string) *http.Response {
	l.t.Helper()
	resp, err := http.ReadResponse(br, nil)
	require.NoError(l.t, err)
	require.Equal(l.t, status, resp.StatusCode)
	text, err := io.ReadAll(resp.Body)
	require.NoError(l.t, err)
	require.Equal(l.t, body, string(text))
	return resp
}

// echo answers with the request's first words and its body, and remembers what it
// was asked for.
type echo struct {
	mu   sync.Mutex
	uris []string
}

func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	e.uris = append(e.uris, r.RequestURI)
	e.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	fmt.Fprintf(w, "%s %s %q", r.Method, r.RequestURI, body)
}

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n" }

func getClose(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
}

// After a message that was refused nothing on its connection is believed.
func TestNeverTheNextRequest(t *testing.T) {
	for _, c := range refusedRequests {
		t.Run(c.name, func(t *testing.T) {
			requireRefused(t, &echo{}, c.text, c.status)
		})
	}
	for _, c := range brokenBodies {
		t.Run(c.name, func(t *testing.T) {
			requireRefused(t, &echo{}, chunkedPost+c.text, c.status)
		})
	}
}

func requireRefused(t *testing.T, e *echo, text string, status int) {
	inServerLab(t, &Server{Handler: e, Limits: Limits{MaxBody: 1000}}, func(t *testing.T, l *serverLab) {
		answer := l.ask(text + get("/smuggled") + get("/smuggled"))
		require.True(t, strings.HasPrefix(answer, fmt.Sprintf("HTTP/1.1 %d ", status)), answer)
		require.Equal(t, 1, strings.Count(answer, "\r\nContent-Length: "))
		require.Contains(t, answer, "\r\nConnection: close\r\n")
		require.NotContains(t, e.uris, "/smuggled")
		require.EqualValues(t, 1, l.server.Stats().Refused)
	})
}

// A handler that does not read a broken body answers, but the connection ends.
func TestNeverTheNextRequestUnread(t *testing.T) {
	for _, c := range brokenBodies {
		var uris []string
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			uris = append(uris, r.RequestURI)
		})
		inServerLab(t, &Server{Handler: h, Limits: Limits{MaxBody: 1000}}, func(t *testing.T, l *serverLab) {
			answer := l.ask(chunkedPost + c.text + get("/smuggled"))
			require.Equal(t, 1, strings.Count(answer, "\r\nContent-Length: "), c.name)
			require.Equal(t, []string{"/"}, uris, c.name)
		})
	}
}

func TestPipeline(t *testing.T) {
	inServerLab(t, &Server{Handler: &echo{}}, func(t *testing.T, l *serverLab) {
		nc := l.dial()
		_, err := io.WriteString(nc, get("/1")+
			"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\r\n"+
			chunkedPost+"5\r\nhello\r\n0\r\n\r\n"+
			"HEAD /4 HTTP/1.1\r\nHost: a\r\n\r\n"+
			getClose("/5")+get("/6"))
		require.NoError(t, err)
		br := bufio.NewReader(nc)
		l.expect(br, 200, `GET /1 ""`)
		l.expect(br, 200, `POST /2 "hello"`)
		l.expect(br, 200, `POST / "hello"`)
		head, err := http.ReadResponse(br, &http.Request{Method: "HEAD"})
		require.NoError(t, err)
		require.EqualValues(t, len(`HEAD /4 ""`), head.ContentLength)
		require.True(t, l.expect(br, 200, `GET /5 ""`).Close)
		_, err = br.ReadByte()
		require.Equal(t, io.EOF, err)
		require.EqualValues(t, 5, l.server.Stats().Requests)
	})
}

func TestKeepAlive10(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Keep-Alive", "timeout=5")
		_, _ = io.WriteString(w, "hello")
		if r.RequestURI == "/flush" {
			_ = http.NewResponseController(w).Flush()
		}
	})
	inServerLab(t, &Server{Handler: h}, func(t *testing.T, l *serverLab) {
		nc := l.dial()
		br := bufio.NewReader(nc)
		for range 2 {
			_, err := io.WriteString(nc, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
			require.NoError(t, err)
			resp := l.expect(br, 200, "hello")
			require.Equal(t, "keep-alive", resp.Header.Get("Connection"))
			require.Equal(t, "timeout=5", resp.Header.Get("Keep-Alive"))
		}
		// There are no chunks in HTTP/1.0: the end of the connection ends the body.
		_, err := io.WriteString(nc, "GET /flush HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		require.NoError(t, err)
		resp := l.expect(br, 200, "hello")
		require.EqualValues(t, -1, resp.ContentLength)
		require.True(t, resp.Close)
		require.Empty(t, resp.Header.Get("Keep-Alive"))
		_, err = br.ReadByte()
		require.Equal(t, io.EOF, err)

		require.Contains(t, l.ask("GET / HTTP/1.0\r\n\r\n"), "\r\nConnection: close\r\n\r\nhello")
	})
}

func TestDeadlines(t *testing.T) {
	const post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
	drip := func(nc net.Conn, s string, every time.Duration) { // until the server has enough
		for range 1000 {
			if _, err := io.WriteString(nc, s); err != nil {
				return
			}
			time.Sleep(every)
		}
	}
	for _, c := range []struct {
		name   string
		client func(nc net.Conn)
		after  time.Duration
		answer string
	}{
		{"nothing", func(net.Conn) {}, 3 * time.Second, ""},
		{"half a header", func(nc net.Conn) { _, _ = io.WriteString(nc, "GET / HT") }, 3 * time.Second, "HTTP/1.1 408 "},
		{"a slow header", func(nc net.Conn) {
			_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\n")
			drip(nc, "X: a\r\n", time.Second/2)
		}, 3 * time.Second, "HTTP/1.1 408 "},
		{"no body", func(nc net.Conn) { _, _ = io.WriteString(nc, post) }, 4 * time.Second, "HTTP/1.1 408 "},
		{"a slow body", func(nc net.Conn) { _, _ = io.WriteString(nc, post); drip(nc, "a", time.Second/2) }, 4 * time.Second, "HTTP/1.1 408 "},
		{"a body that stops", func(nc net.Conn) { _, _ = io.WriteString(nc, post+strings.Repeat("a", 90000)) }, 4 * time.Second, "HTTP/1.1 408 "},
		{"half a second header", func(nc net.Conn) {
			_, _ = io.WriteString(nc, get("/"))
			time.Sleep(time.Second)
			_, _ = io.WriteString(nc, "GET / HT")
		}, 4 * time.Second, "HTTP/1.1 200 "},
		{"idle", func(nc net.Conn) { _, _ = io.WriteString(nc, get("/")) }, 5 * time.Second, "HTTP/1.1 200 "},
	} {
		s := &Server{Handler: &echo{}, HeaderTimeout: 3 * time.Second, BodyTimeout: 4 * time.Second, IdleTimeout: 5 * time.Second}
		t.Run(c.name, func(t *testing.T) {
			inServerLab(t, s, func(t *testing.T, l *serverLab) {
				nc := l.dial()
				start := time.Now()
				done := make(chan bool)
				go func() { c.client(nc); close(done) }()
				answer, err := io.ReadAll(nc)
				require.NoError(t, err)
				require.InDelta(t, c.after.Seconds(), time.Since(start).Seconds(), 0.1)
				require.True(t, strings.HasPrefix(string(answer), c.answer) && (c.answer != "" || len(answer) == 0), "%s", answer)
				nc.Close()
				<-done
			})
		})
	}
}

// A body at 1,000 bytes a second takes longer than the timeout, and may.
func TestSlowBodyThatGoesOn(t *testing.T) {
	inServerLab(t, &Server{Handler: &echo{}, BodyTimeout: 4 * time.Second}, func(t *testing.T, l *serverLab) {
		nc := l.dial()
		_, err := io.WriteString(nc, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n")
		require.NoError(t, err)
		for range 20 {
			time.Sleep(time.Second)
			_, err := io.WriteString(nc, strings.Repeat("a", 1000))
			require.NoError(t, err)
		}
		l.expect(bufio.NewReader(nc), 200, fmt.Sprintf("POST / %q", strings.Repeat("a", 20000)))
	})
}

// A client that does not take its response is left; one that takes it slowly is not.
func TestSlowReader(t *testing.T) {
	const size = 4 << 20
	var result chan error
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := w.Write(make([]byte, size))
		result <- err
	})
	inServerLab(t, &Server{Handler: h, WriteTimeout: 5 * time.Second}, func(t *testing.T, l *serverLab) {
		result = make(chan error, 1)
		nc := l.dial()
		_, err := io.WriteString(nc, get("/"))
		require.NoError(t, err)
		start := time.Now()
		require.Error(t, <-result)
		require.InDelta(t, 5, time.Since(start).Seconds(), 6) // once it had accepted some, and once more
		nc.Close()

		nc = l.dial()
		_, err = io.WriteString(nc, getClose("/"))
		require.NoError(t, err)
		start = time.Now()
		buf := make([]byte, 64<<10)
		for err == nil {
			_, err = io.ReadFull(nc, buf)
			time.Sleep(time.Second)
		}
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.NoError(t, <-result)
		require.Greater(t, time.Since(start), time.Minute)
	})
}

func TestExpect(t *testing.T) {
	const post = "POST %s HTTP/1.1\r\nHost: a\r\nExpect: %s\r\nContent-Length: 5\r\n\r\n"
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI != "/unread" {
			(&echo{}).ServeHTTP(w, r)
		}
	})
	inServerLab(t, &Server{Handler: h}, func(t *testing.T, l *serverLab) {
		nc := l.dial()
		br := bufio.NewReader(nc)
		for range 2 {
			_, err := fmt.Fprintf(nc, post, "/", "100-Continue")
			require.NoError(t, err)
			l.expect(br, 100, "")
			_, err = io.WriteString(nc, "hello")
			require.NoError(t, err)
			l.expect(br, 200, `POST / "hello"`)
		}
		// A client that does not wait is not asked to go on.
		_, err := fmt.Fprintf(nc, post+"hello", "/", "100-continue")
		require.NoError(t, err)
		l.expect(br, 200, `POST / "hello"`)
		// The body of who was not asked to go on may come or not: nobody can say
		// where the next request begins.
		_, err = fmt.Fprintf(nc, post, "/unread", "100-continue")
		require.NoError(t, err)
		require.True(t, l.expect(br, 200, "").Close)
		nc.Close()

		require.Contains(t, l.ask(fmt.Sprintf(post, "/", "200-maybe")), "HTTP/1.1 417 ")
		require.NotContains(t, l.ask("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"), " 100 ")
	})
}

func TestShutdown(t *testing.T) {
	var begun, goOn chan bool // of the bubble
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI == "/slow" {
			begun <- true
			<-goOn
		}
		_, _ = io.WriteString(w, "done")
	})
	inServerLab(t, &Server{Handler: h}, func(t *testing.T, l *serverLab) {
		begun, goOn = make(chan bool, 1), make(chan bool)
		fresh, idle, busy := l.dial(), l.dial(), l.dial()
		for _, nc := range []net.Conn{idle, busy} {
			_, err := io.WriteString(nc, get("/"))
			require.NoError(t, err)
			l.expect(bufio.NewReader(nc), 200, "done")
		}
		_, err := io.WriteString(busy, get("/slow"))
		require.NoError(t, err)
		<-begun
		ended := make(chan error, 1)
		start := time.Now()
		go func() { ended <- l.server.Shutdown(t.Context()) }()
		require.ErrorIs(t, <-l.served, http.ErrServerClosed)
		for _, nc := range []net.Conn{fresh, idle} {
			_, err := nc.Read(make([]byte, 1))
			require.Equal(t, io.EOF, err)
		}
		require.Less(t, time.Since(start), time.Second, "of virtual time: those who wait are not waited for")
		brief, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, l.server.Shutdown(brief), context.DeadlineExceeded)
		goOn <- true
		require.True(t, l.expect(bufio.NewReader(busy), 200, "done").Close)
		busy.Close()
		require.NoError(t, <-ended)
	})
}

// When Serve's context ends requests have Grace to end; then they are cut.
func TestServeContext(t *testing.T) {
	cause := errors.New("enough")
	var ended chan error
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		ended <- context.Cause(r.Context())
	})
	inServerLab(t, &Server{Handler: h, Grace: 3 * time.Second}, func(t *testing.T, l *serverLab) {
		ended = make(chan error, 1)
		nc := l.dial()
		_, err := io.WriteString(nc, get("/"))
		require.NoError(t, err)
		synctest.Wait()
		time.Sleep(time.Second)
		start := time.Now()
		l.stop(cause)
		require.ErrorIs(t, <-l.served, cause)
		require.InDelta(t, 3, time.Since(start).Seconds(), 0.01)
		require.ErrorIs(t, <-ended, http.ErrServerClosed)

		late, err := l.client.Listen("tcp", ":81")
		require.NoError(t, err)
		require.ErrorIs(t, l.server.Serve(t.Context(), late), http.ErrServerClosed)
		stopped, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		require.ErrorIs(t, (&Server{}).Serve(stopped, late), cause)
	})
}

// At the limit a connection that only waits makes room; one at work does not.
func TestMaxConns(t *testing.T) {
	var begun, goOn chan bool
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI == "/slow" {
			begun <- true
			<-goOn
		}
	})
	inServerLab(t, &Server{Handler: h, MaxConns: 2, HeaderTimeout: -1, IdleTimeout: -1}, func(t *testing.T, l *serverLab) {
		begun, goOn = make(chan bool), make(chan bool)
		say := func(nc net.Conn, path string) {
			_, err := io.WriteString(nc, get(path))
			require.NoError(t, err)
		}
		idle, busy := l.dial(), l.dial()
		say(idle, "/")
		l.expect(bufio.NewReader(idle), 200, "")
		say(busy, "/slow")
		<-begun

		third := l.dial()
		_, err := idle.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		say(third, "/slow")
		<-begun

		fourth := l.dial()
		say(fourth, "/")
		time.Sleep(time.Minute)
		require.Equal(t, 2, l.server.Stats().Open)
		require.EqualValues(t, 3, l.server.Stats().Requests)
		goOn <- true // to busy or third, which is told that it must leave
		l.expect(bufio.NewReader(fourth), 200, "")
		close(goOn)
	})
}

// An Accept that fails for a while is tried again.
func TestAcceptFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := &failingListener{failures: 20}
		s := &Server{}
		require.ErrorContains(t, s.Serve(t.Context(), ln), "no more")
		require.Negative(t, ln.failures)
	})
}

type failingListener struct{ failures int }

type passing struct{ error }

func (passing) Temporary() bool { return true }

func (l *failingListener) Accept() (net.Conn, error) {
	if l.failures--; l.failures >= 0 {
		return nil, passing{errors.New("no descriptor")}
	}
	return nil, errors.New("no more")
}

func (l *failingListener) Close() error   { return nil }
func (l *failingListener) Addr() net.Addr { return &net.TCPAddr{} }
