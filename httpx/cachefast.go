package httpx

import (
	"net/http"
	"time"
)

// serveHit is the short way of a plain request for what is fresh and in memory,
// on a server of ours: no request is built for the origin, and the header goes
// out as it was written down once. It reports whether it has answered.
func (p *Proxy) serveHit(w *response, r *http.Request, c *Cache) bool {
	if r.Method != http.MethodGet || r.ContentLength != 0 || p.Origin == nil || p.KeepHost || len(w.header) > 0 {
		return false
	}
	for name := range r.Header {
		switch name {
		case "Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range",
			"Cache-Control", "Pragma", "Upgrade", "Via":
			return false
		}
	}
	c.start()
	now := time.Now()
	path, raw := joinPath(p.Origin, r.URL)
	u := *p.Origin
	u.Path, u.RawPath, u.RawQuery, u.ForceQuery = path, raw, r.URL.RawQuery, r.URL.ForceQuery
	proto := "http"
	if r.TLS != nil {
		proto = "https"
	}
	key := keyOf(&u, "", []string{r.Host}, []string{proto}) // as outgoing tells them

	c.mu.Lock()
	e := c.storedFor(key)
	var rec *record
	var body []byte
	if e != nil && e.rec.judge(nil, now) == useFresh {
		if m, ok := e.body.(*memoryBody); ok {
			rec, body = e.rec, m.bytes()
			c.recent.MoveToFront(e.place)
			c.stats.Hits++
		}
	}
	c.mu.Unlock()
	if rec == nil {
		return false
	}
	age := rec.ageAt(now)
	b := append(w.c.fields[:0], rec.lines...)
	b = append(b, "Age: "...)
	b = appendSeconds(b, age)
	b = append(b, "\r\nCache-Status: "...)
	start := len(b)
	b = append(b, c.name()...)
	b = append(b, "; hit; ttl="...)
	b = appendSeconds(b, rec.fresh-age)
	if t := c.Trace; t != nil && t.Answered != nil {
		t.Answered(r, string(b[start:]))
	}
	b = append(b, "\r\nVia: 1.1 "...)
	b = append(b, p.name...)
	b = append(b, "\r\n"...)
	w.c.fields = b
	w.writeStored(rec.Status, b, rec.said, body)
	return true
}

// storedFor returns the one entry for a key that varies by nothing. The lock is
// held.
func (c *Cache) storedFor(key string) *entry {
	list := c.entries[key]
	if len(list) != 1 || len(list[0].rec.Vary) > 0 || list[0].rec.Status != http.StatusOK {
		return nil
	}
	return list[0]
}

// writeDown prepares the lines that do not change from hit to hit.
func (r *record) writeDown() {
	r.lines, r.said = nil, saidFields{}
	for _, name := range sortedNames(r.Header) {
		switch name {
		case "Content-Length", "Age":
			continue
		case "Content-Type":
			r.said.contentType = true
		case "Content-Encoding":
			r.said.contentEncoding = true
		case "Date":
			r.said.date = true
		}
		r.lines = appendValidField(r.lines, name, r.Header[name])
	}
}

// writeStored answers with a header that is written down already, and a body.
func (w *response) writeStored(status int, fields []byte, said saidFields, body []byte) {
	w.status, w.fields, w.said, w.length = status, fields, said, int64(len(body))
	_, _ = w.Write(body) // who does not take it has gone
}
