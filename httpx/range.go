package httpx

import (
	"crypto/rand"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"strconv"
	"strings"
)

// maxRanges bounds the parts of a file in one answer: each costs some hundred
// bytes, and a request for thousands of single bytes is an attack.
const maxRanges = 16

// A byteRange is a part of a file.
type byteRange struct{ first, length int64 }

// contentRange returns the value of Content-Range for b in a file of size bytes.
func (b byteRange) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", b.first, b.first+b.length-1, size)
}

// parseRange reads the lines of a Range field for a file of size bytes
// ([RFC 9110 section 14.2]). No ranges and true mean that the whole is to be
// sent: another unit, no valid list, too many parts, more bytes than there are.
// False means that the file has nothing of what is asked for.
//
// [RFC 9110 section 14.2]: https://www.rfc-editor.org/rfc/rfc9110#section-14.2
func parseRange(lines []string, size int64) ([]byteRange, bool) {
	if len(lines) != 1 || size == 0 { // of an empty file there is nothing but the whole
		return nil, true
	}
	unit, set, _ := strings.Cut(lines[0], "=")
	if !strings.EqualFold(unit, "bytes") {
		return nil, true
	}
	var ranges []byteRange
	var count int
	var total int64
	for spec := range strings.SplitSeq(set, ",") {
		spec = strings.Trim(spec, " \t")
		if spec == "" {
			continue // RFC 9110 section 5.6.1.2 lets a list have empty elements
		}
		if count++; count > maxRanges {
			return nil, true
		}
		part, valid := parseSpec(spec, size)
		if !valid {
			return nil, true
		}
		if part.length > 0 {
			ranges = append(ranges, part)
			total += part.length
		}
	}
	if total > size || count == 0 {
		return nil, true
	}
	return ranges, len(ranges) > 0
}

// parseSpec reads "first-last", "first-" or "-length". A part of length 0 is
// valid and beyond the file's end.
func parseSpec(spec string, size int64) (part byteRange, valid bool) {
	from, to, found := strings.Cut(spec, "-")
	if !found {
		return part, false
	}
	first, hasFirst := decimal(from)
	last, hasLast := decimal(to)
	switch {
	case from == "" && hasLast: // the last so many
		n := min(last, size)
		return byteRange{size - n, n}, true
	case hasFirst && to == "":
		last = size - 1
	case !hasFirst || !hasLast || last < first:
		return part, false
	}
	if first >= size {
		return part, true
	}
	return byteRange{first, min(last, size-1) - first + 1}, true
}

// decimal reads digits and nothing else; what is too large becomes the largest
// number.
func decimal(s string) (n int64, ok bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, _ = strconv.ParseInt(s, 10, 64) // out of range: the largest
	return n, true
}

// serveParts answers with several parts of f ([RFC 9110 section 14.6]).
//
// [RFC 9110 section 14.6]: https://www.rfc-editor.org/rfc/rfc9110#section-14.6
func serveParts(w http.ResponseWriter, f *os.File, ranges []byteRange, contentType string, size int64) {
	partHeader := func(part byteRange) textproto.MIMEHeader {
		return textproto.MIMEHeader{"Content-Type": {contentType}, "Content-Range": {part.contentRange(size)}}
	}
	boundary := rand.Text()
	// What goes between the parts is written twice, first to count it.
	var frame countWriter
	dry := multipart.NewWriter(&frame)
	dry.SetBoundary(boundary)
	length := int64(0)
	for _, part := range ranges {
		dry.CreatePart(partHeader(part))
		length += part.length
	}
	dry.Close()

	header := w.Header()
	header.Set("Content-Type", "multipart/byteranges; boundary="+boundary)
	header.Set("Content-Length", strconv.FormatInt(length+int64(frame), 10))
	w.WriteHeader(http.StatusPartialContent)
	body := multipart.NewWriter(w)
	body.SetBoundary(boundary)
	for _, part := range ranges {
		if _, err := body.CreatePart(partHeader(part)); err != nil {
			return
		}
		if err := copyPart(w, f, part); err != nil {
			return
		}
	}
	body.Close()
}

// A countWriter counts what is written to it.
type countWriter int64

func (c *countWriter) Write(p []byte) (int, error) {
	*c += countWriter(len(p))
	return len(p), nil
}
