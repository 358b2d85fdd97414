package httpx

import (
	"bytes"
	"container/list"
	"encoding/gob"
	"errors"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"
)

// hopFields are those that speak of a connection and not of a message; they
// are neither stored nor passed on ([RFC 9110 section 7.6.1], [RFC 9111
// section 3.1]).
//
// [RFC 9110 section 7.6.1]: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
// [RFC 9111 section 3.1]: https://www.rfc-editor.org/rfc/rfc9111#section-3.1
var hopFields = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Transfer-Encoding", "Trailer", "Upgrade",
	"Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization",
}

// stripHop removes the fields of the connection from a header.
func stripHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			delete(h, textproto.CanonicalMIMEHeaderKey(strings.Trim(name, " \t")))
		}
	}
	for _, name := range hopFields {
		delete(h, name)
	}
}

// A record is what is known of a stored response besides its body.
type record struct {
	Key    string      // see cacheKey
	Status int         //
	Header http.Header // as it came, without the fields of the connection
	// Vary is what the request had in the fields that the response varies by.
	Vary     http.Header
	Asked    time.Time // when the request was sent
	Received time.Time // when the response came
	Size     int64     // bytes of the body

	policy   cachePolicy // the directives that count
	targeted bool        // they are for caches like us
	fresh    time.Duration
	age      time.Duration // when it came
	lines    []byte        // the header as it goes out, for serveHit
	said     saidFields
}

// An entry is a stored response. What it points to never changes: an update
// puts a new record in its place.
type entry struct {
	body CacheBody
	size int64 // what it counts for

	// The cache's lock guards what follows.
	rec   *record
	refs  int           // readers
	place *list.Element // among the recent; nil if it is not in the cache
	fill  *filling      // while the body comes
}

// overhead is what an entry costs besides the bytes of its body and header.
const overhead = 512

// cost is what a response counts for.
func (r *record) cost() int64 {
	n := int64(len(r.Key)) + overhead + r.Size
	for _, h := range []http.Header{r.Header, r.Vary} {
		for name, values := range h {
			for _, v := range values {
				n += int64(len(name) + len(v) + 32)
			}
		}
	}
	return n
}

// prepare computes what follows from the header.
func (r *record) prepare(targets []string) {
	r.policy, r.targeted = policyOf(r.Header, targets)
	r.fresh, _ = lifetime(r.Header, r.policy, r.targeted, r.Status, r.Received)
	r.age = initialAge(r.Header, r.Asked, r.Received)
	r.writeDown()
}

// policyOf returns the directives that count for a cache at which the targeted
// fields are aimed: those of the first that is valid ([RFC 9213 section 2.2]),
// otherwise Cache-Control.
//
// [RFC 9213 section 2.2]: https://www.rfc-editor.org/rfc/rfc9213#section-2.2
func policyOf(header http.Header, targets []string) (policy cachePolicy, targeted bool) {
	for _, name := range targets {
		if lines := header[name]; len(lines) > 0 {
			if policy := parseTargeted(lines); policy != nil {
				return policy, true
			}
		}
	}
	return parsePolicy(header["Cache-Control"]), false
}

// ageAt returns how old the response is ([RFC 9111 section 4.2.3]).
//
// [RFC 9111 section 4.2.3]: https://www.rfc-editor.org/rfc/rfc9111#section-4.2.3
func (r *record) ageAt(now time.Time) time.Duration {
	return r.age + max(0, now.Sub(r.Received))
}

// mayServeStale reports whether the origin has not forbidden it.
func (r *record) mayServeStale() bool {
	p := r.policy
	return !p.has("no-cache") && !p.has("must-revalidate") && !p.has("proxy-revalidate") && !p.has("s-maxage")
}

// validator reports whether the origin can be asked for changes.
func (r *record) validator() bool {
	return r.Header.Get("Etag") != "" || r.Header.Get("Last-Modified") != ""
}

// storable says whether a response to r may be kept by a shared cache
// ([RFC 9111 section 3]); if not, why.
//
// [RFC 9111 section 3]: https://www.rfc-editor.org/rfc/rfc9111#section-3
func storable(r *http.Request, asks cachePolicy, rec *record) (why string) {
	p := rec.policy
	_, explicit := lifetime(rec.Header, p, rec.targeted, rec.Status, rec.Received)
	switch {
	case r.Method != http.MethodGet:
		return "method"
	case rec.Status == http.StatusPartialContent, rec.Status == http.StatusNotModified, rec.Status < 200:
		return "status"
	case p.has("must-understand") && !understood(rec.Status):
		return "status"
	case p.has("no-store") && !p.has("must-understand"), asks.has("no-store"):
		return "no-store"
	case p.has("private"):
		return "private"
	case r.Header["Authorization"] != nil && !p.has("public") && !p.has("must-revalidate") && !p.has("s-maxage"):
		return "authorization"
	case variesByAll(rec.Header):
		return "vary"
	case !explicit && !p.has("public") && !heuristicStatus(rec.Status):
		return "status"
	case !explicit && rec.Header["Set-Cookie"] != nil:
		// It is legal, but who forgot to say how long a page is fresh has
		// hardly thought of the cookie in it.
		return "set-cookie"
	case rec.fresh <= 0 && !rec.validator():
		return "freshness" // it could never be used
	}
	return ""
}

// understood are the statuses whose rules for caches we know.
func understood(status int) bool {
	return heuristicStatus(status) || status == 302 || status == 303 || status == 307
}

func variesByAll(h http.Header) bool { return hasToken(h, "Vary", "*") }

// varying returns the fields of a request that a response to it varies by, in
// a form in which equal meanings are equal texts as far as every field allows
// it: without white space around list members.
func varying(request, response http.Header) http.Header {
	var picked http.Header
	for _, line := range response["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.Trim(name, " \t"); name == "" {
				continue
			}
			name = textproto.CanonicalMIMEHeaderKey(name)
			if picked == nil {
				picked = make(http.Header)
			}
			picked[name] = normalField(request[name])
		}
	}
	return picked
}

// normalField joins the lines of a field.
func normalField(lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	var items []string
	for _, rest := range lines {
		for rest != "" {
			var item string
			if item, rest = cutListItem(rest); item != "" {
				items = append(items, item)
			}
		}
	}
	return []string{strings.Join(items, ",")}
}

// matches reports whether a stored response is one for this request
// ([RFC 9111 section 4.1]).
//
// [RFC 9111 section 4.1]: https://www.rfc-editor.org/rfc/rfc9111#section-4.1
func (r *record) matches(request http.Header) bool {
	for name, want := range r.Vary {
		if !slices.Equal(normalField(request[name]), want) {
			return false
		}
	}
	return true
}

// keptFields are those that a 304 must not change, since they speak of the body
// that we have ([RFC 9111 section 3.2]).
//
// [RFC 9111 section 3.2]: https://www.rfc-editor.org/rfc/rfc9111#section-3.2
var keptFields = []string{"Content-Length", "Content-Encoding", "Content-Type", "Content-Range"}

// freshened returns the record with the fields of a 304, or of the answer to a
// HEAD, in the place of its own. The request was for what is stored.
func (r *record) freshened(request *http.Request, header http.Header, asked, received time.Time, targets []string) *record {
	updated := *r
	updated.Header = r.Header.Clone()
	header = header.Clone()
	stripHop(header)
	for name, values := range header {
		if !slices.Contains(keptFields, name) {
			updated.Header[name] = values
		}
	}
	if header["Age"] == nil {
		delete(updated.Header, "Age")
	}
	updated.Vary = varying(request.Header, updated.Header)
	updated.Asked, updated.Received = asked, received
	updated.prepare(targets)
	return &updated
}

// sameVersion reports whether a 304 speaks of this response ([RFC 9111
// section 4.3.4]).
//
// [RFC 9111 section 4.3.4]: https://www.rfc-editor.org/rfc/rfc9111#section-4.3.4
func (r *record) sameVersion(header http.Header) bool {
	if tag := header.Get("Etag"); tag != "" {
		return weakTag(tag) == weakTag(r.Header.Get("Etag"))
	}
	if modified := header.Get("Last-Modified"); modified != "" && r.Header.Get("Etag") == "" {
		return modified == r.Header.Get("Last-Modified")
	}
	return true
}

func weakTag(tag string) string { return strings.TrimPrefix(tag, "W/") }

// marshal returns the record in the form in which a store keeps it.
// Fields may have bytes that are no UTF-8, which JSON would change.
func (r *record) marshal() ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(r)
	return b.Bytes(), err
}

// readRecord reads what marshal wrote.
func readRecord(data []byte, targets []string) (*record, error) {
	rec := new(record)
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(rec); err != nil {
		return nil, err
	}
	if rec.Key == "" || rec.Status < 200 || rec.Status > 999 || rec.Size < 0 || rec.Header == nil {
		return nil, errors.New("httpx: a stored response is damaged")
	}
	rec.prepare(targets)
	return rec, nil
}

// cacheKey names what a request asks for: its URL and, behind a space, which no
// URL has, what the origin is told of another host or scheme. An origin may put
// that into its answer, which must then reach nobody who asked at another
// host.
func cacheKey(r *http.Request) string {
	return keyOf(r.URL, r.Host, r.Header["X-Forwarded-Host"], r.Header["X-Forwarded-Proto"])
}

func keyOf(u *url.URL, host string, told ...[]string) string {
	to := strings.ToLower(u.Host)
	key := u.Scheme + "://" + to + strings.ReplaceAll(u.RequestURI(), " ", "%20")
	if host = strings.ToLower(host); host != "" && host != to {
		key += " host=" + host
	}
	for _, values := range told {
		for _, value := range values {
			key += " " + strings.ToLower(value)
		}
	}
	return key
}
