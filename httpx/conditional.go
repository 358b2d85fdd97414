package httpx

import (
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// fileTag returns the strong validator of a file: two versions have the same
// only if they have the same size and were written in the same tick of the
// file system's clock, some milliseconds at most on common systems.
func fileTag(info fs.FileInfo) string {
	tag := make([]byte, 0, 40)
	tag = append(tag, '"')
	tag = strconv.AppendInt(tag, info.ModTime().UnixNano(), 36)
	tag = append(tag, '-')
	tag = strconv.AppendInt(tag, info.Size(), 36)
	return string(append(tag, '"'))
}

// precondition looks at the conditions of a request in the order that
// [RFC 9110 section 13.2.2] asks for. etag is the validator of what is there
// now, empty if nothing is. The result is 0 (go on), 304 or 412.
//
// [RFC 9110 section 13.2.2]: https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2
func precondition(r *http.Request, etag string, modified time.Time) int {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if list := r.Header["If-Match"]; len(list) > 0 {
		if !listsTag(list, etag, false) {
			return http.StatusPreconditionFailed
		}
	} else if t, ok := dateField(r.Header, "If-Unmodified-Since"); ok {
		if etag == "" || modified.Truncate(time.Second).After(t) {
			return http.StatusPreconditionFailed
		}
	}
	if list := r.Header["If-None-Match"]; len(list) > 0 {
		switch {
		case !listsTag(list, etag, true):
		case reads:
			return http.StatusNotModified
		default:
			return http.StatusPreconditionFailed
		}
	} else if t, ok := dateField(r.Header, "If-Modified-Since"); ok && reads {
		if etag != "" && !modified.Truncate(time.Second).After(t) {
			return http.StatusNotModified
		}
	}
	return 0
}

// dateField returns the time in a field that holds one date. What is no date
// does not count.
func dateField(h http.Header, key string) (time.Time, bool) {
	values := h[key]
	if len(values) != 1 {
		return time.Time{}, false
	}
	t, err := http.ParseTime(values[0])
	return t, err == nil
}

// rangeApplies reports whether If-Range lets the parts that a request asks for
// be taken from this version ([RFC 9110 section 13.1.5]): only if its validator
// is the one of now. A date is a weaker one than an entity tag: it does not show a
// second change within a second.
//
// [RFC 9110 section 13.1.5]: https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5
func rangeApplies(r *http.Request, etag string, modified time.Time) bool {
	values := r.Header["If-Range"]
	if len(values) == 0 {
		return true
	}
	if len(values) > 1 {
		return false
	}
	value := values[0]
	if strings.HasPrefix(value, `"`) || strings.HasPrefix(value, "W/") {
		return value == etag // ours is strong, a weak one is never equal
	}
	t, err := http.ParseTime(value)
	return err == nil && modified.Truncate(time.Second).Equal(t)
}

// listsTag reports whether a list of entity tags, perhaps of several lines,
// names etag; "*" names all that exists. A weak comparison ignores the mark W/
// ([RFC 9110 section 8.8.3.2]).
//
// [RFC 9110 section 8.8.3.2]: https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3.2
func listsTag(lines []string, etag string, weak bool) bool {
	if etag == "" {
		return false
	}
	for _, line := range lines {
		rest := strings.Trim(line, " \t,")
		if rest == "*" {
			return true
		}
		for rest != "" {
			tag, after, ok := cutTag(rest)
			if !ok {
				break // no list of tags: what follows cannot be told apart
			}
			if weak {
				tag = strings.TrimPrefix(tag, "W/")
			}
			if tag == etag {
				return true
			}
			rest = strings.TrimLeft(after, " \t,")
		}
	}
	return false
}

// cutTag cuts an entity tag from the start of s. There may be commas in it.
func cutTag(s string) (tag, rest string, ok bool) {
	start := 0
	if strings.HasPrefix(s, "W/") {
		start = 2
	}
	if !strings.HasPrefix(s[start:], `"`) {
		return "", "", false
	}
	for i := start + 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return s[:i+1], s[i+1:], true
		case c <= ' ' || c == 0x7f:
			return "", "", false
		}
	}
	return "", "", false
}

func preconditionFailed(w http.ResponseWriter, r *http.Request) {
	ErrorPage(w, r, http.StatusPreconditionFailed, "The file is not the version that the request is about.")
}
