package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/httpx"
)

// A fetcher gets one document.
type fetcher struct {
	env       *cli.Env
	bar       bool
	transport *httpx.Transport
	file      string // where the body goes
	log       string // where the headers go; empty: beside file
	resume    bool
	redirects int
	most      int64

	headers io.Writer
}

// fetch gets u, or what it leads to, and saves it.
func (f *fetcher) fetch(ctx context.Context, u *url.URL) error {
	if f.log == "" {
		f.log = f.file + ".headers"
		if info, err := os.Stat(f.file); err == nil && !info.Mode().IsRegular() {
			f.log = os.DevNull // the body goes to a device; nothing belongs beside it
		}
	}
	log, err := os.Create(f.log)
	if err != nil {
		return err
	}
	f.headers = log
	f.transport.Trace = &httpx.TransportTrace{Dialled: func(d httpx.DialInfo) {
		if d.Err == nil {
			fmt.Fprintf(log, "# connection %d to %s, after %.1f ms\n", d.Conn, d.Addr, float64(d.End.Sub(d.Start).Microseconds())/1000)
		}
	}}
	return errors.Join(f.try(ctx, u), log.Close())
}

// try gets u with what is there already, and if that does not fit, from the
// start.
func (f *fetcher) try(ctx context.Context, u *url.URL) error {
	have, tag := int64(0), ""
	if f.resume {
		have, tag = f.partial()
	}
	resp, err := f.follow(ctx, "GET", u, have, tag)
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && have > 0 {
		// There is nothing behind what we have. Is that the whole?
		resp.Body.Close()
		if resp, err = f.follow(ctx, "HEAD", u, 0, ""); err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK && resp.ContentLength == have && (tag == "" || tag == validator(resp.Header)) {
			fmt.Fprintf(f.env.Stdout, "%s has all %d bytes already\n", f.file, have)
			return f.finish()
		}
		have = 0
		if resp, err = f.follow(ctx, "GET", u, 0, ""); err != nil {
			return err
		}
	}
	defer resp.Body.Close()
	return f.save(resp, have, tag)
}

// follow asks for u and goes where it is sent, until there is an answer that is
// no redirection.
func (f *fetcher) follow(ctx context.Context, method string, u *url.URL, have int64, tag string) (*http.Response, error) {
	seen := map[string]bool{}
	for hop := 0; ; hop++ {
		seen[u.String()] = true
		resp, err := f.ask(ctx, method, u, have, tag)
		if err != nil {
			return nil, err
		}
		next, err := redirection(resp)
		if err == nil && next == nil {
			return resp, nil
		}
		resp.Body.Close()
		switch {
		case err != nil:
			return nil, err
		case seen[next.String()]:
			return nil, fmt.Errorf("%s leads back to %s: redirections in a circle", u.Redacted(), next.Redacted())
		case hop == f.redirects:
			return nil, fmt.Errorf("more than %d redirections; the last leads to %s", f.redirects, next.Redacted())
		}
		u = next
	}
}

// redirection returns where resp leads to; nil if it is no redirection.
func redirection(resp *http.Response) (*url.URL, error) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	from := resp.Request.URL
	location := resp.Header.Get("Location")
	next, err := from.Parse(location) // it may be relative (RFC 9110 section 10.2.2)
	if err != nil || location == "" {
		return nil, fmt.Errorf("%s answers %s without saying where to: Location is %q", from.Redacted(), resp.Status, location)
	}
	if next.Scheme != "http" && next.Scheme != "https" || next.Hostname() == "" {
		return nil, fmt.Errorf("%s leads to %q, which is not of HTTP", from.Redacted(), location)
	}
	next.Fragment, next.RawFragment = "", ""
	return next, nil
}

// ask sends one request and logs the header of the response.
func (f *fetcher) ask(ctx context.Context, method string, u *url.URL, have int64, tag string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "zocalo-wget")
	r.Header.Set("Accept", "*/*")
	if u.User != nil {
		password, _ := u.User.Password()
		r.SetBasicAuth(u.User.Username(), password)
	}
	if have > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
		if tag != "" {
			// The rest of another version would not fit: then all of it, please.
			r.Header.Set("If-Range", tag)
		}
	}
	resp, err := f.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(f.env.Stdout, "%s %s: %q\n", method, u.Redacted(), resp.Status)
	fmt.Fprintf(f.headers, "# %s %s\n%s %s\n", method, u.Redacted(), resp.Proto, resp.Status)
	for _, key := range slices.Sorted(maps.Keys(resp.Header)) {
		for _, value := range resp.Header[key] {
			fmt.Fprintf(f.headers, "%s: %s\n", key, value)
		}
	}
	_, err = fmt.Fprintln(f.headers)
	return resp, err
}

// save writes the body of resp behind the first have bytes of the file, which are
// of the version tag, or over all of it if the server sends the whole.
func (f *fetcher) save(resp *http.Response, have int64, tag string) error {
	from, total := int64(0), resp.ContentLength // -1: not known
	switch {
	case resp.StatusCode == http.StatusPartialContent:
		first, size, err := contentRange(resp.Header.Get("Content-Range"))
		if err != nil || have == 0 || first != have {
			return fmt.Errorf("the server sends another part than the one from byte %d: Content-Range is %q", have, resp.Header.Get("Content-Range"))
		}
		// Not every server knows If-Range (RFC 9110 section 15.3.7.3).
		if now := validator(resp.Header); tag != "" && now != "" && now != tag {
			return errors.New("the server sends a part of another version than the one that is here; without -continue it sends the whole")
		}
		from, total = have, size
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return fmt.Errorf("%s: the server answers %q", resp.Request.URL.Redacted(), resp.Status)
	}
	if total > f.most {
		return fmt.Errorf("%d bytes are more than -max %d", total, f.most)
	}
	file, err := os.OpenFile(f.file, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	err = f.write(file, resp, from, total)
	return errors.Join(err, file.Close())
}

func (f *fetcher) write(file *os.File, resp *http.Response, from, total int64) error {
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		if err := file.Truncate(from); err != nil {
			return err
		}
		if _, err := file.Seek(from, io.SeekStart); err != nil {
			return err
		}
		if err := f.begin(resp); err != nil {
			return err
		}
	}
	var to io.Writer = file
	if f.bar {
		bar := progressbar.NewOptions64(total, progressbar.OptionSetWriter(f.env.Stderr), progressbar.OptionSetDescription(f.file),
			progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
		_ = bar.Set64(from)
		defer bar.Close()
		to = io.MultiWriter(file, bar)
	}
	n, err := io.Copy(to, io.LimitReader(resp.Body, f.most-from+1))
	switch {
	case err != nil:
		return fmt.Errorf("after %s: %w", of(from+n, total), err)
	case from+n > f.most:
		return fmt.Errorf("more than -max %d bytes came", f.most)
	case total >= 0 && from+n != total:
		return fmt.Errorf("only %s came", of(from+n, total))
	}
	fmt.Fprintf(f.env.Stdout, "%s: %d bytes", f.file, from+n)
	if from > 0 {
		fmt.Fprintf(f.env.Stdout, ", %d of them now", n)
	}
	fmt.Fprintln(f.env.Stdout)
	return f.finish()
}

// of says how much of the whole there is, which is perhaps not known.
func of(n, total int64) string {
	if total < 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%d of %d bytes", n, total)
}

// contentRange reads "bytes first-last/size", where last must be the end.
func contentRange(field string) (first, size int64, err error) {
	rest, ok := strings.CutPrefix(field, "bytes ")
	part, whole, ok2 := strings.Cut(rest, "/")
	from, to, ok3 := strings.Cut(part, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, errors.New("no part of known bytes")
	}
	var numbers [3]int64
	for i, text := range []string{from, to, whole} {
		n, err := strconv.ParseUint(text, 10, 62)
		if err != nil {
			return 0, 0, err
		}
		numbers[i] = int64(n)
	}
	if numbers[1] != numbers[2]-1 || numbers[0] > numbers[1] {
		return 0, 0, errors.New("not up to the end")
	}
	return numbers[0], numbers[2], nil
}

// Beside a file that is not whole yet lies another one, with the validator of
// the version that it is a part of.
func (f *fetcher) mark() string { return f.file + ".partial" }

// partial returns what there is of the file, and of which version.
func (f *fetcher) partial() (have int64, tag string) {
	info, err := os.Stat(f.file)
	if err != nil || !info.Mode().IsRegular() {
		return 0, ""
	}
	text, err := os.ReadFile(f.mark())
	if err == nil && len(text) == 0 {
		return 0, "" // the version has no name: nobody can say whether the rest fits
	}
	return info.Size(), string(text)
}

// begin notes which version is about to be saved.
func (f *fetcher) begin(resp *http.Response) error {
	return os.WriteFile(f.mark(), []byte(validator(resp.Header)), 0o666)
}

// finish is for a file that is whole.
func (f *fetcher) finish() error {
	if err := os.Remove(f.mark()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// validator returns what If-Range may ask about: a strong entity tag, or the time
// of the last change where there is no tag at all (RFC 9110 section 13.1.5).
func validator(h http.Header) string {
	switch tag := h.Get("Etag"); {
	case strings.HasPrefix(tag, `"`):
		return tag
	case tag != "":
		return ""
	}
	return h.Get("Last-Modified")
}
