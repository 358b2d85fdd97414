package httpx

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// answers runs a handler for one request and returns all of the response but Date.
func answers(t *testing.T, text string, h http.HandlerFunc) string {
	t.Helper()
	var answer string
	inServerLab(t, &Server{Handler: h}, func(_ *testing.T, l *serverLab) { answer = l.ask(text) })
	before, after, ok := strings.Cut(answer, "Date: ")
	if !ok {
		return answer
	}
	_, after, _ = strings.Cut(after, "\r\n")
	return before + after
}

func TestFraming(t *testing.T) {
	const ok, plain = "HTTP/1.1 200 OK\r\n", "Content-Type: text/plain; charset=utf-8\r\n"
	long := strings.Repeat("a", maxHeld+1)
	write := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
	}
	head := strings.Replace(getClose("/"), "GET", "HEAD", 1)
	for _, c := range []struct {
		name, text string
		handler    http.HandlerFunc
		answer     string
	}{
		{"nothing", getClose("/"), write(""), ok + "Content-Length: 0\r\nConnection: close\r\n\r\n"},
		{"short", getClose("/"), write("hello"), ok + plain + "Content-Length: 5\r\nConnection: close\r\n\r\nhello"},
		{"HTML", getClose("/"), write("<html>"), ok + "Content-Type: text/html; charset=utf-8\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>"},
		{"long", getClose("/"), write(long), ok + plain + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n1001\r\n" + long + "\r\n0\r\n\r\n"},
		{"long in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", write(long), ok + plain + "Connection: close\r\n\r\n" + long},
		{"HEAD", head, write("hello"), ok + plain + "Content-Length: 5\r\nConnection: close\r\n\r\n"},
		{"long HEAD", head, write(long), ok + plain + "Connection: close\r\n\r\n"},
		{"flushed", getClose("/"), func(w http.ResponseWriter, _ *http.Request) {
			for _, s := range []string{"a", "", "b"} {
				_, _ = io.WriteString(w, s)
				w.(http.Flusher).Flush()
			}
		}, ok + plain + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"},
		{"many small", getClose("/"), func(w http.ResponseWriter, _ *http.Request) {
			for range maxHeld + 1 {
				_, _ = io.WriteString(w, "a")
			}
		}, ok + plain + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n1000\r\n" + long[:maxHeld] + "\r\n1\r\na\r\n0\r\n\r\n"},
		{"204", getClose("/"), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			w.WriteHeader(204)
			_, err := io.WriteString(w, "hello")
			require.ErrorIs(t, err, http.ErrBodyNotAllowed)
			w.WriteHeader(200) // too late
		}, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"},
		{"304", getClose("/"), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			w.WriteHeader(304)
		}, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"},
		{"longer than said", getClose("/"), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			_, err := io.WriteString(w, "hello!")
			require.ErrorIs(t, err, http.ErrContentLength)
			_, err = io.WriteString(w, "hello")
			require.NoError(t, err)
		}, ok + plain + "Content-Length: 5\r\nConnection: close\r\n\r\nhello"},
		{"shorter than said", get("/"), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "hell")
		}, ok + plain + "Content-Length: 5\r\n\r\nhell"},
		{"nonsense as length", getClose("/"), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "-1")
			w.Header().Set("Transfer-Encoding", "gzip")
			_, _ = io.WriteString(w, "hello")
		}, ok + plain + "Content-Length: 5\r\nConnection: close\r\n\r\nhello"},
		{"names not canonical", getClose("/"), func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["content-length"] = []string{"5"}
			w.Header()["transfer-encoding"] = []string{"chunked"}
			w.Header()["content-type"] = []string{"text/x"}
			_, _ = io.WriteString(w, "hello")
		}, ok + "content-type: text/x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
		{"CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n" + get("/"), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			_, err := io.WriteString(w, "hello")
			require.ErrorIs(t, err, http.ErrBodyNotAllowed)
		}, ok + "Connection: close\r\n\r\n"},
		{"split", getClose("/"), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", "a\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK")
			w.Header()["Y\r\nZ"] = []string{"b"}
			w.Header()["Content-Type"] = nil
			_, _ = io.WriteString(w, "hello")
		}, ok + "X: a  Content-Length: 0    HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
		{"the header is taken when it is written", getClose("/"), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", "1")
			_, _ = io.WriteString(w, "hello")
			w.Header().Set("X", "2")
		}, ok + "X: 1\r\n" + plain + "Content-Length: 5\r\nConnection: close\r\n\r\nhello"},
		{"announced trailer", getClose("/"), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "Sum, Content-Length")
			_, _ = io.WriteString(w, "hello")
			w.Header().Set("Sum", "1")
			w.Header().Set(http.TrailerPrefix+"Late", "2")
			w.Header().Set(http.TrailerPrefix+"Host", "b")
			w.Header().Set(http.TrailerPrefix+"Bad", "a\nb")
		}, ok + "Trailer: Sum, Content-Length\r\n" + plain + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\nLate: 2\r\nSum: 1\r\n\r\n"},
		{"early hints", getClose("/"), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</a.css>")
			w.WriteHeader(103)
			w.Header().Del("Link")
			_, _ = io.WriteString(w, "hello")
		}, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + ok + plain + "Content-Length: 5\r\nConnection: close\r\n\r\nhello"},
		{"early hints in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(103)
		}, ok + "Content-Length: 0\r\nConnection: close\r\n\r\n"},
		{"the handler closes", get("/"), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			w.Header().Set("Keep-Alive", "timeout=5")
		}, ok + "Content-Length: 0\r\nConnection: close\r\n\r\n"},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", write("not called"), ok + "Content-Length: 0\r\nConnection: close\r\n\r\n"},
		{"panic", get("/"), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			panic("oh")
		}, "HTTP/1.1 500 Internal Server Error\r\n" + plain + "X-Content-Type-Options: nosniff\r\nContent-Length: 26\r\nConnection: close\r\n\r\n500 Internal Server Error\n"},
		{"wrong status", get("/"), func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(99)
		}, "HTTP/1.1 500 Internal Server Error\r\n" + plain + "X-Content-Type-Options: nosniff\r\nContent-Length: 26\r\nConnection: close\r\n\r\n500 Internal Server Error\n"},
		{"late panic", get("/"), func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "hello")
			panic("oh")
		}, ok + plain + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n"},
		{"abort", get("/"), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.answer, answers(t, c.text, c.handler)) })
	}
}

// A panic is told to the logger, but not one that is meant.
func TestPanicIsLogged(t *testing.T) {
	var log bytes.Buffer
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.RequestURI == "/abort" {
			panic(http.ErrAbortHandler)
		}
		panic("oh")
	})
	inServerLab(t, &Server{Handler: h, Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(t *testing.T, l *serverLab) {
		require.Empty(t, l.ask(get("/abort")))
		require.Zero(t, l.server.Stats().Panics)
		require.Contains(t, l.ask(get("/")), " 500 ")
		require.EqualValues(t, 1, l.server.Stats().Panics)
		require.NoError(t, l.server.Close())
		require.Equal(t, 1, strings.Count(log.String(), "panic in handler"))
		require.Contains(t, log.String(), "server_response_test.go")
	})
}

func TestTrace(t *testing.T) {
	var log []string
	s := &Server{Handler: &echo{}, Trace: &ServerTrace{
		Opened:  func(nc net.Conn) { log = append(log, "opened "+nc.LocalAddr().String()) },
		Closed:  func(net.Conn) { log = append(log, "closed") },
		Refused: func(_ net.Conn, err *ProtocolError) { log = append(log, fmt.Sprint("refused ", err.Status)) },
		Answered: func(r *http.Request, status int, body int64) {
			log = append(log, fmt.Sprint(r.Method, " ", r.URL, " ", status, " ", body))
		},
	}}
	inServerLab(t, s, func(t *testing.T, l *serverLab) {
		l.ask(get("/a") + "hola\r\n")
		require.NoError(t, s.Close())
		require.Equal(t, []string{"opened 10.0.0.1:80", "GET /a 200 9", "refused 400", "closed"}, log)
		require.Equal(t, ServerStats{Accepted: 1, Requests: 1, Refused: 1}, s.Stats())
	})
}

// The context of a request ends when the client goes, whether it asked for that
// before or after it read the body, and when the handler returns.
func TestRequestContext(t *testing.T) {
	var contexts chan context.Context
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), time.Hour)
		defer cancel()
		_, _ = io.ReadAll(r.Body)
		switch r.RequestURI {
		case "/gone":
			<-ctx.Done()
		case "/poll":
			for ctx.Err() == nil {
				elapse(time.Second)
			}
		}
		_, _ = io.WriteString(w, "done")
		contexts <- r.Context()
	})
	inServerLab(t, &Server{Handler: h}, func(t *testing.T, l *serverLab) {
		contexts = make(chan context.Context, 1)
		for _, uri := range []string{"/gone", "/poll"} {
			nc := l.dial()
			_, err := io.WriteString(nc, strings.Replace(chunkedPost, "/", uri, 1)+"5\r\nhello\r\n0\r\n\r\n")
			require.NoError(t, err)
			elapse(time.Minute)
			nc.Close()
			require.ErrorIs(t, (<-contexts).Err(), context.Canceled)
		}

		// Watching the connection loses nothing that comes on it.
		nc := l.dial()
		br := bufio.NewReader(nc)
		_, err := io.WriteString(nc, get("/1")+get("/2"))
		require.NoError(t, err)
		for range 2 {
			l.expect(br, 200, "done")
			ctx := <-contexts
			require.ErrorIs(t, ctx.Err(), context.Canceled)
			require.NotNil(t, ctx.Value(http.ServerContextKey))
			require.Equal(t, "10.0.0.1:80", ctx.Value(http.LocalAddrContextKey).(net.Addr).String())
		}
		_, err = io.WriteString(nc, getClose("/3"))
		require.NoError(t, err)
		l.expect(br, 200, "done")
		ctx := <-contexts
		<-ctx.Done() // asked for the first time when it is over
	})
}

func TestHijack(t *testing.T) {
	inServerLab(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, stop := context.WithCancel(r.Context())
		defer stop() // the connection is watched
		require.NoError(t, ctx.Err())
		nc, rw, err := http.NewResponseController(w).Hijack()
		require.NoError(t, err)
		_, err = io.WriteString(w, "no more")
		require.ErrorIs(t, err, http.ErrHijacked)
		go func() {
			defer nc.Close()
			_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
			_ = rw.Flush()
			_, _ = io.Copy(nc, rw)
		}()
	}), IdleTimeout: time.Second}, func(t *testing.T, l *serverLab) {
		nc := l.dial()
		_, err := io.WriteString(nc, get("/")+"early")
		require.NoError(t, err)
		br := bufio.NewReader(nc)
		l.expect(br, 101, "")
		elapse(time.Hour) // the server's timeouts are no more
		require.NoError(t, l.server.Close())
		_, err = io.WriteString(nc, " late")
		require.NoError(t, err)
		buf := make([]byte, len("early late"))
		_, err = io.ReadFull(br, buf)
		require.NoError(t, err)
		require.Equal(t, "early late", string(buf))
		nc.Close()
	})
}

// A status 101 that was written is sent when the connection is taken over; after
// the handler nothing can be.
func TestSwitchingProtocols(t *testing.T) {
	var late chan error
	inServerLab(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI == "/late" {
			go func() {
				<-r.Context().Done()
				elapse(time.Second)
				_, err := w.Write([]byte("late"))
				_, _, hijackErr := http.NewResponseController(w).Hijack()
				late <- errors.Join(err, hijackErr)
			}()
			return
		}
		w.Header().Set("Upgrade", "echo")
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusSwitchingProtocols)
		nc, _, err := http.NewResponseController(w).Hijack()
		require.NoError(t, err)
		_, _, err = http.NewResponseController(w).Hijack()
		require.ErrorIs(t, err, http.ErrHijacked)
		nc.Close()
	})}, func(t *testing.T, l *serverLab) {
		late = make(chan error, 1)
		require.Regexp(t, `^HTTP/1.1 101 Switching Protocols\r\nDate: .*\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n$`, l.ask(get("/")))
		require.Contains(t, l.ask(get("/late")), " 200 OK")
		require.ErrorContains(t, <-late, "has returned\nhttpx: the handler has returned")
	})
}

// A handler can answer while it reads, and set its own deadlines, for this request.
func TestResponseController(t *testing.T) {
	inServerLab(t, &Server{IdleTimeout: -1, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		require.NoError(t, rc.EnableFullDuplex())
		if r.RequestURI == "/slow" {
			require.NoError(t, rc.SetReadDeadline(time.Now().Add(time.Hour)))
			require.NoError(t, rc.SetWriteDeadline(time.Now().Add(time.Hour)))
		}
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			fmt.Fprintf(w, "<%s>", lines.Text())
			require.NoError(t, rc.Flush())
		}
		require.NoError(t, lines.Err())
	})}, func(t *testing.T, l *serverLab) {
		nc := l.dial()
		br := bufio.NewReader(nc)
		for _, uri := range []string{"/slow", "/next"} {
			_, err := io.WriteString(nc, strings.Replace(chunkedPost, "/", uri, 1))
			require.NoError(t, err)
			for range 3 {
				_, err = io.WriteString(nc, "2\r\na\n\r\n")
				require.NoError(t, err)
				line, err := br.ReadString('>')
				require.NoError(t, err)
				require.Regexp(t, `\r\n3\r\n<a>$`, line)
				if uri == "/slow" {
					elapse(19 * time.Minute)
				}
			}
			_, err = io.WriteString(nc, "0\r\n\r\n")
			require.NoError(t, err)
			_, err = br.Discard(len("\r\n0\r\n\r\n"))
			require.NoError(t, err)
			elapse(time.Hour) // the deadlines of the first pass
		}
	})
}

// A deadline may be set while the connection is watched, and one that a handler
// has taken away is back when it has returned.
func TestDeadlineOfHandler(t *testing.T) {
	inServerLab(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.NoError(t, r.Context().Err())
		rc := http.NewResponseController(w)
		require.NoError(t, rc.SetReadDeadline(time.Time{}))
		require.NoError(t, rc.SetWriteDeadline(time.Time{}))
	})}, func(t *testing.T, l *serverLab) {
		require.Contains(t, l.ask(getClose("/")), " 200 OK")
		start := time.Now()
		require.Contains(t, l.ask(chunkedPost+"5\r\nhel"), " 200 OK")
		require.InDelta(t, 30, time.Since(start).Seconds(), 2)
	})
}

// What a form's files took on the disk is given back.
func TestMultipartForm(t *testing.T) {
	var name string
	h := func(_ http.ResponseWriter, r *http.Request) {
		require.NoError(t, r.ParseMultipartForm(0))
		f, _, err := r.FormFile("f")
		require.NoError(t, err)
		defer f.Close()
		name = f.(*os.File).Name()
		require.FileExists(t, name)
	}
	body := "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\nhello\r\n--b--\r\n"
	text := "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n%s"
	require.Contains(t, answers(t, fmt.Sprintf(text, len(body), body), h), " 200 OK")
	require.NoFileExists(t, name)
}

// A goroutine that reads the body after the handler has returned does not get the
// next request's bytes.
func TestBodyAfterHandler(t *testing.T) {
	var late chan error
	var old io.Reader
	inServerLab(t, &Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if old != nil {
			_, err := old.Read(make([]byte, 1))
			late <- err
		}
		old = r.Body
	})}, func(t *testing.T, l *serverLab) {
		late = make(chan error, 1)
		l.ask(chunkedPost + "5\r\nhello\r\n0\r\n\r\n" + getClose("/"))
		require.ErrorIs(t, <-late, http.ErrBodyReadAfterClose)
	})
}

// More than is worth reading away ends the connection instead.
func TestUnreadBody(t *testing.T) {
	for _, c := range []struct {
		size          int
		chunked, next bool
	}{{maxDrain, false, true}, {maxDrain + 1, false, false}, {maxDrain, true, true}, {2 * maxDrain, true, false}} {
		inServerLab(t, &Server{Handler: http.NotFoundHandler()}, func(t *testing.T, l *serverLab) {
			body := string(make([]byte, c.size))
			text := fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", c.size, body)
			if c.chunked {
				text = fmt.Sprintf("%s%x\r\n%s\r\n0\r\n\r\n", chunkedPost, c.size, body)
			}
			answer := l.ask(text + getClose("/next"))
			require.Equal(t, c.next, strings.Count(answer, "404 page not found") == 2, "%+v", c)
			require.Contains(t, answer, "404 page not found", "%+v", c)
		})
	}
}

// Files over a real connection, where the kernel may send them.
func TestReadFrom(t *testing.T) {
	dir := t.TempDir()
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), content, 0o600))
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var said, sent int64
		_, err := fmt.Sscan(r.Header.Get("Sizes"), &said, &sent)
		require.NoError(t, err)
		f, err := os.Open(filepath.Join(dir, "f"))
		require.NoError(t, err)
		defer f.Close()
		w.Header().Set("Content-Type", "application/octet-stream")
		if said >= 0 {
			w.Header().Set("Content-Length", fmt.Sprint(said))
		}
		var n int64
		if sent >= 0 {
			n, err = io.CopyN(w, f, sent)
		} else { // what there is at the end of the file
			_, err = f.Seek(sent, io.SeekEnd)
			require.NoError(t, err)
			n, err = io.Copy(w, f)
			n = -n
		}
		require.NoError(t, err)
		require.Equal(t, sent, n)
	})
	addr := listen(t, &Server{Handler: h})
	for _, c := range []struct {
		method     string
		said, sent int64
		whole      bool
	}{
		{"GET", 0, 0, true},
		{"GET", 1024, 1024, true},
		{"GET", 5000, 5000, true},
		{"GET", 1 << 20, 1 << 20, true},
		{"GET", -1, 1024, true},
		{"GET", -1, 1 << 20, true},
		{"HEAD", 1 << 20, 1 << 20, true},
		{"GET", 1024, 1000, false},
		{"GET", 1 << 20, 1 << 19, false},
		{"GET", 1024, -1000, false},
		{"GET", 1 << 20, -1 << 19, false},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+addr, nil)
		require.NoError(t, err)
		req.Header.Set("Sizes", fmt.Sprint(c.said, " ", c.sent))
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		require.Equal(t, c.whole, err == nil, "%+v: %v", c, err)
		switch {
		case c.method == "HEAD":
		case c.sent < 0:
			require.True(t, bytes.Equal(content[len(content)+int(c.sent):], body), "%+v", c)
		default:
			require.True(t, bytes.Equal(content[:c.sent], body), "%+v", c)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
