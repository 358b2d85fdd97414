package httpx

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// writable reports whether name lies in the folder that is open for changes.
func (h *FileHandler) writable(name string) bool {
	if h.Writable == "" {
		return false
	}
	folder := path.Clean(h.Writable)
	return folder == "." || strings.HasPrefix(filepath.ToSlash(name), folder+"/")
}

// state returns the validator and the time of change of the file that is called
// name; an empty validator if there is none.
func (h *FileHandler) state(name string) (etag string, modified time.Time, err error) {
	info, err := h.Root.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", time.Time{}, nil
	}
	if err != nil {
		return "", time.Time{}, err
	}
	if !info.Mode().IsRegular() {
		return "", time.Time{}, errNoFile
	}
	return fileTag(info), info.ModTime(), nil
}

var errNoFile = errors.New("httpx: not a regular file")

// allow looks whether a PUT or a DELETE of name may go on, and answers it
// itself if not.
func (h *FileHandler) allow(w http.ResponseWriter, r *http.Request, name string) (exists, ok bool) {
	etag, modified, err := h.state(name)
	if err != nil {
		changeError(w, r, err)
		return false, false
	}
	if precondition(r, etag, modified) != 0 {
		preconditionFailed(w, r)
		return false, false
	}
	return etag != "", true
}

// changeError answers a request whose change could not be made.
func changeError(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, fs.ErrPermission):
		ErrorPage(w, r, http.StatusForbidden, "The server itself may not write here.")
	case errors.Is(err, errNoFile):
		ErrorPage(w, r, http.StatusConflict, "There is a folder with this name.")
	case noSpace(err):
		ErrorPage(w, r, http.StatusInsufficientStorage, "")
	default:
		ErrorPage(w, r, http.StatusConflict, "No file can be there: a folder above it is missing, or its name is too long.")
	}
}

// put takes the body as the new content of name. Others see the old content
// until the new is complete: it arrives in a file of its own, whose name, since
// it begins with a dot, no request can ask for.
func (h *FileHandler) put(w http.ResponseWriter, r *http.Request, name string, folder bool) {
	limit := h.MaxUpload
	if limit <= 0 {
		limit = 64 << 20
	}
	switch {
	case folder:
		changeError(w, r, errNoFile)
		return
	case len(r.Header["Content-Range"]) > 0: // RFC 9110 section 14.5: or a part would replace the whole
		ErrorPage(w, r, http.StatusBadRequest, "A part of a file (Content-Range) cannot be put here.")
		return
	case r.ContentLength > limit:
		tooLarge(w, r, limit)
		return
	}
	if _, ok := h.allow(w, r, name); !ok {
		return // before the body is asked for
	}
	temp := filepath.Join(filepath.Dir(name), ".upload-"+rand.Text())
	f, err := h.Root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		changeError(w, r, err)
		return
	}
	defer h.Root.Remove(temp) // nothing to do after the renaming
	n, err := io.Copy(f, io.LimitReader(bodyReader{r.Body}, limit+1))
	if err == nil && n > limit {
		f.Close()
		tooLarge(w, r, limit)
		return
	}
	err = errors.Join(err, f.Sync(), f.Close())
	if bad, ok := errors.AsType[*bodyError](err); ok {
		ErrorPage(w, r, bad.status(), "The file did not arrive whole.")
		return
	}
	if err != nil {
		changeError(w, r, err)
		return
	}
	h.writing.Lock()
	defer h.writing.Unlock()
	exists, ok := h.allow(w, r, name) // somebody may have been faster
	if !ok {
		return
	}
	// The file system's clock ticks too slowly to tell this version from one
	// that was put a millisecond ago.
	err = h.Root.Chtimes(temp, time.Time{}, time.Now())
	if err == nil {
		err = h.Root.Rename(temp, name)
	}
	if err != nil {
		changeError(w, r, err)
		return
	}
	if etag, _, err := h.state(name); err == nil && etag != "" {
		w.Header().Set("Etag", etag) // what was put is what is kept
	}
	if exists {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
}

func tooLarge(w http.ResponseWriter, r *http.Request, limit int64) {
	ErrorPage(w, r, http.StatusRequestEntityTooLarge, "A file may have "+strconv.FormatInt(limit, 10)+" bytes.")
}

// delete removes the file that is called name.
func (h *FileHandler) delete(w http.ResponseWriter, r *http.Request, name string, folder bool) {
	if folder {
		changeError(w, r, errNoFile)
		return
	}
	h.writing.Lock()
	defer h.writing.Unlock()
	exists, ok := h.allow(w, r, name)
	switch {
	case !ok:
	case !exists:
		ErrorPage(w, r, http.StatusNotFound, "")
	default:
		if err := h.Root.Remove(name); err != nil {
			changeError(w, r, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// A bodyError says that the body of a request failed, not the disk.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// status is what to answer to a request with such a body.
func (e *bodyError) status() int {
	if bad, ok := errors.AsType[*ProtocolError](e.err); ok {
		return bad.Status
	}
	if isTimeout(e.err) {
		return http.StatusRequestTimeout
	}
	return http.StatusBadRequest
}

// A bodyReader marks the errors of a body.
type bodyReader struct{ r io.Reader }

func (b bodyReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		err = &bodyError{err}
	}
	return n, err
}
