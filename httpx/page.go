package httpx

import (
	"fmt"
	"html"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ErrorPage answers a request with a page for people: the status, what it means
// in plain words, what was asked for, and detail, a sentence of the caller's,
// which may be empty. Nothing of the request is shown without being escaped. It
// sets the fields that tell about the page, and removes those of another content
// (validators and encoding). Others that belong to the status, such as Allow or
// Location, the caller sets before.
func ErrorPage(w http.ResponseWriter, r *http.Request, status int, detail string) {
	for _, key := range []string{"Etag", "Last-Modified", "Content-Encoding"} {
		w.Header().Del(key)
	}
	title := strconv.Itoa(status) + " " + http.StatusText(status)
	var b strings.Builder
	pageStart(&b, title)
	fmt.Fprintf(&b, "<h1><b>%d</b> %s</h1>\n", status, http.StatusText(status))
	if text := meaning(status); text != "" {
		fmt.Fprintf(&b, "<p>%s</p>\n", text)
	}
	if detail != "" {
		fmt.Fprintf(&b, "<p>%s</p>\n", html.EscapeString(detail))
	}
	if to := w.Header().Get("Location"); to != "" {
		fmt.Fprintf(&b, "<p>It is at <a href=\"%s\">%[1]s</a>.</p>\n", html.EscapeString(to))
	}
	fmt.Fprintf(&b, "<p class=\"asked\">You asked for <code>%s %s</code></p>\n", html.EscapeString(r.Method), html.EscapeString(r.URL.EscapedPath()))
	if status == http.StatusNotFound || status == http.StatusForbidden {
		b.WriteString("<p><a href=\"/\">To the start of this site</a></p>\n")
	}
	pageEnd(w, r, status, &b)
}

// meaning explains a status to somebody who has never read the RFC.
func meaning(status int) string {
	switch status {
	case http.StatusMovedPermanently:
		return "What you asked for has another address, for good."
	case http.StatusBadRequest:
		return "The server could not make sense of the request. Programs send such ones by mistake, or to try what happens."
	case http.StatusForbidden:
		return "The server understood the request and will not answer it."
	case http.StatusNotFound:
		return "There is nothing with this address here. Perhaps it has a typing error, capital letters in the wrong place, or what was here has moved or is gone."
	case http.StatusMethodNotAllowed:
		return "What is at this address cannot be used in this way."
	case http.StatusRequestTimeout:
		return "The request did not arrive in time."
	case http.StatusConflict:
		return "The request does not fit what is there now."
	case http.StatusPreconditionFailed:
		return "The request was meant only for a certain state of what is here, and the state is another one: somebody else was faster."
	case http.StatusRequestEntityTooLarge:
		return "The request carries more than this server takes."
	case http.StatusRequestedRangeNotSatisfiable:
		return "The request asks for a part that lies beyond the end."
	case http.StatusInternalServerError:
		return "The server has a fault. It is not yours."
	case http.StatusNotImplemented:
		return "The server does not know how to do what the request asks for."
	case http.StatusBadGateway:
		return "This server asked another one for you, and did not get an answer that it could understand."
	case http.StatusServiceUnavailable:
		return "The server cannot answer now. Try again in a moment."
	case http.StatusGatewayTimeout:
		return "This server asked another one for you, and got no answer in time."
	case http.StatusInsufficientStorage:
		return "There is no room left to keep what you sent."
	}
	return ""
}

// list answers with what is in the folder dir, which is called name.
func (h *FileHandler) list(w http.ResponseWriter, r *http.Request, dir *os.File, name string) {
	entries, _ := dir.ReadDir(maxListed + 1) // an error ends the list; what is there is shown
	more := len(entries) > maxListed
	type row struct {
		name string
		info fs.FileInfo
	}
	var rows []row
	for _, entry := range entries[:min(len(entries), maxListed)] {
		name := filepath.Join(name, entry.Name())
		if _, _, err := fileName("/" + entry.Name()); err != nil || secret(entry.Name()) {
			continue // no request can ask for it
		}
		info, err := entry.Info()
		if entry.Type()&fs.ModeSymlink != 0 {
			info, err = h.Root.Stat(name) // of what it leads to, if that is below the root
		}
		if err == nil && (info.IsDir() || info.Mode().IsRegular()) {
			rows = append(rows, row{entry.Name(), info})
		}
	}
	slices.SortFunc(rows, func(a, b row) int {
		if a.info.IsDir() != b.info.IsDir() {
			if a.info.IsDir() {
				return -1
			}
			return 1
		}
		return strings.Compare(a.name, b.name)
	})

	var b strings.Builder
	title := "Index of " + r.URL.Path
	pageStart(&b, title)
	fmt.Fprintf(&b, "<h1>%s</h1>\n<table>\n<tr><th>Name<th>Bytes<th>Changed (UTC)\n", html.EscapeString(title))
	if name != "." {
		b.WriteString("<tr><td><a href=\"../\">../</a><td><td>\n")
	}
	for _, row := range rows {
		name, size := row.name, strconv.FormatInt(row.info.Size(), 10)
		if row.info.IsDir() {
			name, size = name+"/", ""
		}
		link := url.URL{Path: name} // its String escapes, and begins "./" where a colon would look like a scheme
		fmt.Fprintf(&b, "<tr><td><a href=\"%s\">%s</a><td>%s<td>%s\n", html.EscapeString(link.String()),
			html.EscapeString(name), size, row.info.ModTime().UTC().Format("2006-01-02 15:04:05"))
	}
	b.WriteString("</table>\n")
	if more {
		fmt.Fprintf(&b, "<p>There is more; this list ends after %d entries.</p>\n", maxListed)
	}
	pageEnd(w, r, http.StatusOK, &b)
}

// pageStart begins a page that looks like all of ours.
func pageStart(b *strings.Builder, title string) {
	b.WriteString("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n" +
		"<meta name=\"viewport\" content=\"width=device-width\">\n<title>" + html.EscapeString(title) + "</title>\n" + pageStyle +
		"</head>\n<body>\n<main>\n")
}

const pageStyle = `<style>
body { margin: 0; font: 1.1rem/1.5 system-ui, sans-serif; color: #222; background: #f4f1ea }
main { max-width: 44rem; margin: 8vh auto; padding: 2rem; background: #fff; border-top: .5rem solid #b5482a }
h1 { margin-top: 0; font-weight: 400; overflow-wrap: anywhere } h1 b { color: #b5482a }
code { overflow-wrap: anywhere } .asked { color: #666 } a { color: #1d5c86 }
table { border-spacing: 1.5rem 0; margin-left: -1.5rem } th { text-align: left }
td:nth-child(2) { text-align: right; font-variant-numeric: tabular-nums }
</style>
`

// pageEnd sends a page. Its policy forbids a browser to run any script, should
// one have slipped through.
func pageEnd(w http.ResponseWriter, r *http.Request, status int, b *strings.Builder) {
	b.WriteString("</main>\n</body>\n</html>\n")
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(b.Len()))
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(b.String()))
	}
}
