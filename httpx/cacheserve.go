package httpx

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// hit answers from an entry, whose reference it takes over; and from what fills
// it, if the caller has joined that.
func (c *Cache) hit(r *http.Request, e *entry, rec *record, fill *filling, now time.Time, collapsed bool) *http.Response {
	left := rec.fresh - rec.ageAt(now)
	c.mu.Lock()
	c.stats.Hits++
	if left <= 0 {
		c.stats.Stale++
	}
	if collapsed {
		c.stats.Collapsed++
	}
	c.mu.Unlock()
	status := append(make([]byte, 0, 40), "hit; ttl="...)
	status = appendSeconds(status, left)
	if collapsed {
		status = append(status, "; collapsed"...)
	}
	return c.respond(r, e, rec, fill, now, string(status))
}

// forwarded is the Cache-Status of an answer from the origin ([RFC 9211
// section 2.2]).
//
// [RFC 9211 section 2.2]: https://www.rfc-editor.org/rfc/rfc9211#section-2.2
func forwarded(why string, status int) string {
	return "fwd=" + why + "; fwd-status=" + strconv.Itoa(status)
}

// mark adds our line to Cache-Status.
func (c *Cache) mark(r *http.Request, resp *http.Response, status string) {
	line := c.name() + "; " + status
	if resp.Header == nil {
		resp.Header = make(http.Header)
	}
	resp.Header["Cache-Status"] = append(resp.Header["Cache-Status"][:len(resp.Header["Cache-Status"]):len(resp.Header["Cache-Status"])], line)
	if t := c.Trace; t != nil && t.Answered != nil {
		t.Answered(r, line)
	}
}

// newStored returns a response to r without a body.
func newStored(r *http.Request, status int, header http.Header, length int64) *http.Response {
	text := http.StatusText(status)
	return &http.Response{
		Status: strconv.Itoa(status) + " " + text, StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: http.NoBody, ContentLength: length, Request: r,
	}
}

// respond builds the response to r as [Cache.hit] says: the whole, a part, or
// that nothing has changed ([RFC 9111 section
// 4.3.2]).
//
// [RFC 9111 section 4.3.2]: https://www.rfc-editor.org/rfc/rfc9111#section-4.3.2
func (c *Cache) respond(r *http.Request, e *entry, rec *record, fill *filling, now time.Time, status string) *http.Response {
	header := rec.Header.Clone()
	header["Age"] = []string{string(appendSeconds(nil, rec.ageAt(now)))}
	size := rec.Size
	resp := newStored(r, rec.Status, header, size)
	part := byteRange{0, size}
	tag, modified := rec.Header.Get("Etag"), lastModified(rec.Header, now)
	switch {
	case rec.Status != http.StatusOK:
	case unchanged(r, tag, modified):
		resp = newStored(r, http.StatusNotModified, header, 0)
		for _, name := range []string{"Content-Length", "Content-Type", "Content-Encoding", "Content-Language", "Content-Range"} {
			delete(header, name)
		}
		part = byteRange{}
	case r.Method != http.MethodGet || r.Header["Range"] == nil || fill != nil || !rangeApplies(r, tag, modified):
	default:
		ranges, ok := parseRange(r.Header["Range"], size)
		switch {
		case !ok:
			part = byteRange{}
			resp = newStored(r, http.StatusRequestedRangeNotSatisfiable, header, 0)
			header.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
			header.Set("Content-Length", "0")
		case len(ranges) == 1: // of several the whole is an answer too (RFC 9110 section 14.2)
			part = ranges[0]
			resp = newStored(r, http.StatusPartialContent, header, part.length)
			header.Set("Content-Range", part.contentRange(size))
			header.Set("Content-Length", strconv.FormatInt(part.length, 10))
		}
	}
	var body io.ReadCloser
	if fill != nil {
		body = fill.reader(r)
	} else {
		body = &storedReader{c: c, e: e, Reader: io.NewSectionReader(e.body, part.first, part.length), left: part.length}
	}
	if resp.Body = body; r.Method == http.MethodHead || part == (byteRange{}) {
		resp.Body = http.NoBody
		body.Close()
	}
	c.mark(r, resp, status)
	return resp
}

// lastModified returns when what is stored was changed; the zero time if the
// origin did not say.
func lastModified(h http.Header, now time.Time) time.Time {
	if lines := h["Last-Modified"]; len(lines) == 1 {
		if t, ok := parseDate(lines[0], now); ok {
			return t
		}
	}
	return time.Time{}
}

// unchanged reports whether the client has what is stored already.
func unchanged(r *http.Request, tag string, modified time.Time) bool {
	if list := r.Header["If-None-Match"]; len(list) > 0 {
		return listsTag(list, weakTag(tag), true)
	}
	t, ok := dateField(r.Header, "If-Modified-Since")
	return ok && !modified.IsZero() && !modified.After(t)
}

// A storedReader reads a stored body and holds its entry.
type storedReader struct {
	io.Reader
	c      *Cache
	e      *entry
	left   int64
	closed sync.Once
}

// Read reports as broken what has lost its end in the store.
func (r *storedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if r.left -= int64(n); err == io.EOF && r.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (r *storedReader) Close() error {
	r.closed.Do(func() { r.c.leave(r.e) })
	return nil
}
