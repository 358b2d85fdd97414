package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/httpx"
)

// A browser fetches pages with the cookies of its jar.
type browser struct {
	jar        *httpx.Jar
	hosts      map[string]string // where a host is, in the place of the DNS
	thirdParty bool              // cookies of other sites than the page's are sent
	client     *http.Client
	out        io.Writer
}

func browse(fs *flag.FlagSet) cli.Action {
	file := fs.String("jar", "cookies.json", "`file` that keeps the cookies")
	hosts := make(map[string]string)
	fs.Func("at", "`HOST=ADDR` says where a host is; repeat for each", func(text string) error {
		host, addr, found := strings.Cut(text, "=")
		if _, _, err := net.SplitHostPort(addr); !found || err != nil || host == "" {
			return errors.New("want HOST=ADDRESS:PORT")
		}
		hosts[host] = addr
		return nil
	})
	block := fs.Bool("no-third-party", false, "send no cookies to other sites than the page's, and take none from them")
	timeout := cli.Number(fs, "timeout", 10*time.Second, time.Millisecond, time.Hour, "wait this `time` for each answer")
	now := laterFlag(fs)
	return func(ctx context.Context, env *cli.Env) error {
		if len(env.Args) == 0 {
			return cli.Usagef("browse wants the URL of a page, or of several")
		}
		b := &browser{jar: &httpx.Jar{Now: now}, hosts: hosts, thirdParty: !*block, out: env.Stdout}
		if err := loadJar(b.jar, *file); err != nil {
			return err
		}
		transport := &httpx.Transport{Dial: b.dial}
		defer transport.CloseIdleConnections()
		b.client = &http.Client{
			Transport: transport, Timeout: *timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		for _, page := range env.Args {
			if err := b.visit(ctx, page); err != nil {
				return err
			}
		}
		return saveJar(b.jar, *file)
	}
}

// loadJar reads the file, if there is one.
func loadJar(jar *httpx.Jar, file string) error {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the first time
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := jar.Load(f); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// saveJar writes the file aside and renames it: a browser that is killed does
// not lose all its cookies. Only its owner may read it: who has the cookies is
// taken for her.
func saveJar(jar *httpx.Jar, file string) error {
	var data bytes.Buffer
	if err := jar.Save(&data); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data.Bytes())
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

func (b *browser) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if host, _, err := net.SplitHostPort(addr); err == nil && b.hosts[host] != "" {
		addr = b.hosts[host]
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// maxPage bounds what is read of a page, and maxPictures what is fetched for it.
const maxPage, maxPictures = 1 << 20, 20

var (
	images = regexp.MustCompile(`<img[^>]* src="([^"]*)"`)
	tags   = regexp.MustCompile(`<[^>]*>`)
)

// visit fetches a page and its pictures, and shows the text and which cookies
// went where.
func (b *browser) visit(ctx context.Context, page string) error {
	u, err := url.Parse(page)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return cli.Usagef("%q is no http URL", page)
	}
	body, err := b.get(ctx, u, nil)
	if err != nil {
		return err
	}
	for line := range strings.Lines(tags.ReplaceAllString(string(body), "\n")) {
		if line = strings.TrimSpace(html.UnescapeString(line)); line != "" {
			fmt.Fprintf(b.out, "  %q\n", line)
		}
	}
	for _, match := range images.FindAllSubmatch(body, maxPictures) {
		picture, err := u.Parse(html.UnescapeString(string(match[1])))
		if err != nil || picture.Scheme != "http" && picture.Scheme != "https" {
			continue
		}
		if _, err := b.get(ctx, picture, u); err != nil {
			return err
		}
	}
	return nil
}

// get fetches u, which is in page if that is not nil.
func (b *browser) get(ctx context.Context, u, page *url.URL) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	withCookies := true
	if page != nil {
		r.Header.Set("Referer", page.String())
		withCookies = b.thirdParty || page.Hostname() == u.Hostname()
	}
	if withCookies {
		for _, c := range b.jar.Cookies(u) {
			r.AddCookie(c)
		}
	}
	fmt.Fprintf(b.out, "GET %s\n", u.Redacted())
	for _, line := range r.Header["Cookie"] {
		fmt.Fprintf(b.out, "  Cookie: %s\n", brief(line))
	}
	resp, err := b.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	for _, line := range resp.Header["Set-Cookie"] {
		fmt.Fprintf(b.out, "  Set-Cookie: %s\n", brief(line))
	}
	if withCookies {
		b.jar.SetCookies(u, resp.Cookies())
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: the server answers %q", u.Redacted(), resp.Status)
	}
	return body, err
}

// brief shortens the long values of ids and takes control characters out.
func brief(line string) string {
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, line)
	return longValue.ReplaceAllString(line, "=$1…$2")
}

var longValue = regexp.MustCompile(`=([A-Z0-9]{4})[A-Za-z0-9_.-]{30,}([A-Za-z0-9_-]{4})`)
