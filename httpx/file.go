package httpx

import (
	"errors"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A FileHandler answers requests with the files of a folder. What a request
// names is looked for below Root and nowhere else: neither "..", however it is
// escaped, nor a symbolic link leads out of it. It runs on any server of
// http.Handlers, ours or net/http's; fields must not change while it serves.
//
// GET and HEAD give a file, with a strong validator (ETag) of its size and its
// time of change, with Last-Modified, and a type from the name's extension or
// else from the first bytes. Conditions are kept in the order of
// [RFC 9110 section 13.2.2], and parts of a file are given as
// [RFC 9110 section 14] says: one alone, several as multipart/byteranges; more
// than 16, or more bytes than the file has, are answered with the whole file.
//
// A folder's path ends with a slash; without it the answer is a redirection. A
// folder is shown by its index.html, or else as a list if List is set. A name
// that begins with a dot (.git, .htpasswd) is kept secret, but for .well-known.
// Whatever cannot be answered gets a page that explains it ([ErrorPage]).
//
// [RFC 9110 section 13.2.2]: https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2
// [RFC 9110 section 14]: https://www.rfc-editor.org/rfc/rfc9110#section-14
type FileHandler struct {
	// Root is the folder. It is required, and the caller's to close.
	Root *os.Root

	// List shows what is in a folder without index.html; otherwise its answer
	// is 403.
	List bool

	// Writable is a folder below Root, such as "incoming" or ".", in which PUT
	// makes and replaces files and DELETE removes them. Empty: nowhere. What
	// strangers put there is shown to others as a page of this site; protect it
	// with a handler that asks who they are. A crash in the middle of a PUT leaves
	// a file whose name begins with .upload-, which nobody else sees.
	Writable string

	// MaxUpload is the largest file that PUT takes, in bytes; 0 means 64 MiB.
	MaxUpload int64

	writing sync.Mutex // held from the last look at the conditions to the change
}

const (
	indexFile   = "index.html"
	smallFile   = 32 << 10 // a file up to this size is read at once and written with its header
	maxListed   = 5000     // entries that a list shows
	readMethods = "GET, HEAD, OPTIONS"
)

// ServeHTTP answers one request.
func (h *FileHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions && r.URL.Path == "*" {
		h.options(w, readMethods) // about the server as a whole
		return
	}
	name, folder, err := fileName(r.URL.Path)
	if err != nil {
		ErrorPage(w, r, http.StatusBadRequest, "The path "+err.Error()+".")
		return
	}
	if secret(name) {
		ErrorPage(w, r, http.StatusNotFound, "")
		return
	}
	writable := h.writable(name)
	allowed := readMethods
	if writable {
		allowed += ", PUT, DELETE"
	}
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		h.get(w, r, name, folder)
	case r.Method == http.MethodOptions:
		h.options(w, allowed)
	case r.Method == http.MethodPut && writable:
		h.put(w, r, name, folder)
	case r.Method == http.MethodDelete && writable:
		h.delete(w, r, name, folder)
	default:
		w.Header().Set("Allow", allowed) // RFC 9110 section 15.5.6: it must say
		ErrorPage(w, r, http.StatusMethodNotAllowed, "Here one can use: "+allowed+".")
	}
}

func (h *FileHandler) options(w http.ResponseWriter, allowed string) {
	w.Header().Set("Allow", allowed)
	w.WriteHeader(http.StatusNoContent)
}

// fileName returns the name below the root that a URL's path, already decoded,
// stands for ("." for the root), and whether it is written as a folder's.
func fileName(urlPath string) (name string, folder bool, err error) {
	// A backslash separates folders on Windows, and browsers turn it into a
	// slash: no honest request has one.
	if strings.ContainsAny(urlPath, "\\\x00") {
		return "", false, errors.New("has a character that no file's name has")
	}
	for element := range strings.SplitSeq(urlPath, "/") {
		if element == ".." || element == "." {
			return "", false, errors.New("has a step \"" + element + "\", which the client must resolve")
		}
	}
	name = strings.TrimPrefix(path.Clean("/"+urlPath), "/") // without "//"
	if name == "" {
		return ".", true, nil
	}
	native, err := filepath.Localize(name) // refuses what is no name here, such as NUL: on Windows
	if err != nil {
		return "", false, errors.New("is no name of a file")
	}
	return native, strings.HasSuffix(urlPath, "/"), nil
}

// secret reports whether a part of name begins with a dot.
func secret(name string) bool {
	for element := range strings.SplitSeq(filepath.ToSlash(name), "/") {
		if strings.HasPrefix(element, ".") && element != "." && element != ".well-known" { // RFC 8615
			return true
		}
	}
	return false
}

func (h *FileHandler) get(w http.ResponseWriter, r *http.Request, name string, folder bool) {
	f, info, err := h.open(name)
	if err != nil {
		openError(w, r, err)
		return
	}
	defer func() { f.Close() }()
	switch {
	case info.IsDir() && !folder:
		// Relative, since a handler above us may have removed the path's start.
		redirect(w, r, &url.URL{Path: path.Base(r.URL.Path) + "/", RawQuery: r.URL.RawQuery})
		return
	case info.IsDir():
		index, indexInfo, err := h.open(filepath.Join(name, indexFile))
		if errors.Is(err, fs.ErrNotExist) || err == nil && !indexInfo.Mode().IsRegular() {
			if err == nil {
				index.Close()
			}
			if !h.List {
				ErrorPage(w, r, http.StatusForbidden, "This is a folder without a page of its own, and what it holds is not listed.")
				return
			}
			h.list(w, r, f, name)
			return
		}
		if err != nil {
			openError(w, r, err)
			return
		}
		f.Close()
		f, info = index, indexInfo
	case folder || !info.Mode().IsRegular():
		ErrorPage(w, r, http.StatusNotFound, "")
		return
	}
	serveFile(w, r, f, info)
}

// open opens what is called name, without waiting for the other end of a pipe.
func (h *FileHandler) open(name string) (*os.File, fs.FileInfo, error) {
	f, err := h.Root.OpenFile(name, os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// openError answers a request whose file could not be opened. What the reason
// is says nothing about files outside the root.
func openError(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, fs.ErrPermission):
		ErrorPage(w, r, http.StatusForbidden, "The server itself may not read this file.")
	case outOfFiles(err):
		w.Header().Set("Retry-After", "1")
		ErrorPage(w, r, http.StatusServiceUnavailable, "Too many files are open.")
	default: // there is none, a part of its path is a file, a link leads out or in circles, the name is too long
		ErrorPage(w, r, http.StatusNotFound, "")
	}
}

// redirect answers with 301 and a page for those who do not follow.
func redirect(w http.ResponseWriter, r *http.Request, to *url.URL) {
	w.Header().Set("Location", to.String())
	ErrorPage(w, r, http.StatusMovedPermanently, "This is a folder: its address ends with a slash.")
}

var smallBuffers = sync.Pool{New: func() any { return new([smallFile]byte) }}

// serveFile answers a GET or a HEAD with the content of f.
func serveFile(w http.ResponseWriter, r *http.Request, f *os.File, info fs.FileInfo) {
	header := w.Header()
	size, etag := info.Size(), fileTag(info)
	header["Etag"] = []string{etag}
	if modified := info.ModTime(); !modified.After(time.Now()) { // RFC 9110 section 8.8.2.1 forbids a time to come
		header["Last-Modified"] = []string{modified.UTC().Format(http.TimeFormat)}
	}
	switch precondition(r, etag, info.ModTime()) {
	case http.StatusNotModified:
		w.WriteHeader(http.StatusNotModified)
		return
	case http.StatusPreconditionFailed:
		preconditionFailed(w, r)
		return
	}
	contentType := mime.TypeByExtension(filepath.Ext(info.Name()))
	if contentType == "" {
		var start [512]byte
		n, _ := f.ReadAt(start[:], 0)
		contentType = http.DetectContentType(start[:n])
	}
	header["Accept-Ranges"] = []string{"bytes"}
	header["X-Content-Type-Options"] = []string{"nosniff"} // the type is what we say

	var ranges []byteRange
	if r.Method == http.MethodGet && len(r.Header["Range"]) > 0 && rangeApplies(r, etag, info.ModTime()) {
		var ok bool
		if ranges, ok = parseRange(r.Header["Range"], size); !ok {
			header.Set("Content-Range", "bytes */"+strconv.FormatInt(size, 10))
			ErrorPage(w, r, http.StatusRequestedRangeNotSatisfiable, "The file has "+strconv.FormatInt(size, 10)+" bytes.")
			return
		}
	}
	status, part := http.StatusOK, byteRange{0, size}
	switch len(ranges) {
	case 0:
	case 1:
		status, part = http.StatusPartialContent, ranges[0]
		header["Content-Range"] = []string{part.contentRange(size)}
	default:
		serveParts(w, f, ranges, contentType, size)
		return
	}
	header["Content-Type"] = []string{contentType}
	header["Content-Length"] = []string{strconv.FormatInt(part.length, 10)}
	if r.Method == http.MethodHead || part.length > smallFile {
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			copyPart(w, f, part) // a server sees by the length if it was cut short
		}
		return
	}
	// One read and, on a good server, one write together with the header.
	buf := smallBuffers.Get().(*[smallFile]byte)
	defer smallBuffers.Put(buf)
	n, err := f.ReadAt(buf[:part.length], part.first)
	if int64(n) < part.length && err != io.EOF {
		header.Del("Content-Range")
		ErrorPage(w, r, http.StatusInternalServerError, "The file cannot be read.")
		return
	}
	w.WriteHeader(status)
	w.Write(buf[:n])
}

// copyPart writes a part of f. The way it is put together lets a server's
// ReadFrom hand the work to the system (sendfile).
func copyPart(w io.Writer, f *os.File, part byteRange) error {
	if _, err := f.Seek(part.first, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(w, f, part.length)
	return err
}
