package httpx

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// A Jar keeps the cookies of a browser ([RFC 6265 section 5.3]). It is an
// http.CookieJar whose content can be looked at and kept in a file, which that
// of net/http/cookiejar cannot. A cookie for a public suffix, such as co.uk, is
// refused. Its zero value is empty and ready to use; its methods may be called
// by several goroutines at a time.
//
// [RFC 6265 section 5.3]: https://www.rfc-editor.org/rfc/rfc6265#section-5.3
type Jar struct {
	// MaxPerDomain and MaxCookies bound what is kept: the oldest go. 0 means
	// 50 and 3,000.
	MaxPerDomain, MaxCookies int
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	mu      sync.Mutex
	cookies []StoredCookie // in the order of their creation
}

// A StoredCookie is a cookie in a [Jar].
type StoredCookie struct {
	Name     string    // may be empty if Value is not
	Value    string    // without the quotes that it may have had
	Domain   string    // in lower case, without a dot in front
	HostOnly bool      // only for Domain itself, not for hosts below it
	Path     string    // and what is below it
	Secure   bool      // only over https
	HttpOnly bool      // not for scripts
	SameSite string    `json:",omitempty"` // "Strict", "Lax", "None" or nothing
	Expires  time.Time // the zero time: when the browser is closed
	Created  time.Time // it keeps its place when it gets another value
}

// maxCookie bounds name and value together ([RFC 6265 section 6.1]).
//
// [RFC 6265 section 6.1]: https://www.rfc-editor.org/rfc/rfc6265#section-6.1
const maxCookie = 4096

func (j *Jar) now() time.Time {
	if j.Now != nil {
		return j.Now()
	}
	return time.Now()
}

// cookieHost returns the host of u in the form in which domains are compared,
// or "" if cookies are not for it.
func cookieHost(u *url.URL) string {
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		host = ascii
	}
	return host
}

// SetCookies keeps the cookies that came from u.
func (j *Jar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	host := cookieHost(u)
	if host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return
	}
	now := j.now()
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range cookies {
		if s, ok := accept(c, u, host, now); ok {
			j.put(s, u.Scheme == "https", now)
		}
	}
	j.trim(now)
}

// accept checks a cookie by the rules of [RFC 6265 section 5.3], and those of
// the names with a prefix, which came later.
//
// [RFC 6265 section 5.3]: https://www.rfc-editor.org/rfc/rfc6265#section-5.3
func accept(c *http.Cookie, u *url.URL, host string, now time.Time) (s StoredCookie, ok bool) {
	s = StoredCookie{
		Name: c.Name, Value: c.Value, Domain: host, HostOnly: true, Path: c.Path,
		Secure: c.Secure, HttpOnly: c.HttpOnly, Created: now,
	}
	if len(c.Name)+len(c.Value) > maxCookie || c.Name == "" && c.Value == "" {
		return s, false
	}
	if c.Domain != "" {
		domain := strings.TrimPrefix(strings.ToLower(c.Domain), ".")
		switch _, err := netip.ParseAddr(host); {
		case domain == "" || domain[0] == '.':
			return s, false
		case err == nil || isPublicSuffix(domain):
			// An address has no domain, and a public suffix has no owner; that
			// it names itself is forgiven.
			if domain != host {
				return s, false
			}
		case !domainMatch(host, domain):
			return s, false
		default:
			s.Domain, s.HostOnly = domain, false
		}
	}
	if s.Path == "" || s.Path[0] != '/' {
		s.Path = defaultPath(u)
	}
	switch c.SameSite {
	case http.SameSiteStrictMode:
		s.SameSite = "Strict"
	case http.SameSiteLaxMode:
		s.SameSite = "Lax"
	case http.SameSiteNoneMode:
		s.SameSite = "None"
	}
	switch {
	case c.MaxAge < 0:
		s.Expires = now
	case c.MaxAge > 0:
		s.Expires = now.Add(time.Duration(min(c.MaxAge, int(maxLife/time.Second))) * time.Second)
	case !c.Expires.IsZero():
		s.Expires = c.Expires
		if latest := now.Add(maxLife); s.Expires.After(latest) {
			s.Expires = latest
		}
	}
	if s.Secure && u.Scheme != "https" {
		return s, false
	}
	name := strings.ToLower(s.Name)
	if strings.HasPrefix(name, "__secure-") && !s.Secure {
		return s, false
	}
	if strings.HasPrefix(name, "__host-") && (!s.Secure || !s.HostOnly || c.Domain != "" || c.Path != "/") {
		return s, false
	}
	return s, true
}

// maxLife is how long a cookie may live, whatever it says (RFC 6265bis).
const maxLife = 400 * 24 * time.Hour

func isPublicSuffix(domain string) bool {
	suffix, _ := publicsuffix.PublicSuffix(domain)
	return suffix == domain
}

// domainMatch reports whether host is domain or below it ([RFC 6265 section
// 5.1.3]).
//
// [RFC 6265 section 5.1.3]: https://www.rfc-editor.org/rfc/rfc6265#section-5.1.3
func domainMatch(host, domain string) bool {
	return host == domain || strings.HasSuffix(host, "."+domain)
}

// defaultPath is the folder of the page that set the cookie ([RFC 6265 section
// 5.1.4]).
//
// [RFC 6265 section 5.1.4]: https://www.rfc-editor.org/rfc/rfc6265#section-5.1.4
func defaultPath(u *url.URL) string {
	i := strings.LastIndexByte(u.Path, '/')
	if i <= 0 || u.Path[0] != '/' {
		return "/"
	}
	return u.Path[:i]
}

func pathMatch(path, of string) bool {
	if path == "" {
		path = "/"
	}
	return path == of || strings.HasPrefix(path, of) && (strings.HasSuffix(of, "/") || path[len(of)] == '/')
}

// put keeps s in the place of one with the same name, domain and path. What was
// set over https cannot be replaced over http. The lock is held.
func (j *Jar) put(s StoredCookie, secure bool, now time.Time) {
	i := slices.IndexFunc(j.cookies, func(o StoredCookie) bool {
		return o.Name == s.Name && o.Domain == s.Domain && o.Path == s.Path && o.HostOnly == s.HostOnly
	})
	if i >= 0 && j.cookies[i].Secure && !secure {
		return
	}
	gone := !s.Expires.IsZero() && !s.Expires.After(now)
	switch {
	case i < 0 && gone:
	case i < 0:
		j.cookies = append(j.cookies, s)
	case gone:
		j.cookies = slices.Delete(j.cookies, i, i+1)
	default:
		s.Created = j.cookies[i].Created
		j.cookies[i] = s
	}
}

// trim removes what has expired, and the oldest of what is too much. The lock
// is held.
func (j *Jar) trim(now time.Time) {
	most, perDomain := j.MaxCookies, j.MaxPerDomain
	if most <= 0 {
		most = 3000
	}
	if perDomain <= 0 {
		perDomain = 50
	}
	count := make(map[string]int)
	j.cookies = slices.DeleteFunc(j.cookies, func(c StoredCookie) bool {
		return !c.Expires.IsZero() && !c.Expires.After(now)
	})
	for _, c := range j.cookies {
		count[c.Domain]++
	}
	j.cookies = slices.DeleteFunc(j.cookies, func(c StoredCookie) bool {
		if count[c.Domain] > perDomain {
			count[c.Domain]--
			return true
		}
		return false
	})
	if extra := len(j.cookies) - most; extra > 0 {
		j.cookies = slices.Delete(j.cookies, 0, extra)
	}
}

// Cookies returns the cookies for a request to u: those with the longest path
// first, then the oldest ([RFC 6265 section 5.4]).
//
// [RFC 6265 section 5.4]: https://www.rfc-editor.org/rfc/rfc6265#section-5.4
func (j *Jar) Cookies(u *url.URL) (list []*http.Cookie) {
	host := cookieHost(u)
	if host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil
	}
	now := j.now()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.trim(now)
	var found []StoredCookie
	for _, c := range j.cookies {
		if (c.Domain == host || !c.HostOnly && domainMatch(host, c.Domain)) && pathMatch(u.Path, c.Path) && (!c.Secure || u.Scheme == "https") {
			found = append(found, c)
		}
	}
	slices.SortStableFunc(found, func(a, b StoredCookie) int { return cmp.Compare(len(b.Path), len(a.Path)) })
	for _, c := range found {
		list = append(list, &http.Cookie{Name: c.Name, Value: c.Value, Quoted: strings.ContainsAny(c.Value, " ,")})
	}
	return list
}

// All returns what is in the jar, the oldest first.
func (j *Jar) All() []StoredCookie {
	now := j.now()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.trim(now)
	return slices.Clone(j.cookies)
}

// Clear empties the jar.
func (j *Jar) Clear() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.cookies = nil
}

// Save writes the cookies that outlive the browser, as JSON.
func (j *Jar) Save(w io.Writer) error {
	kept := slices.DeleteFunc(j.All(), func(c StoredCookie) bool { return c.Expires.IsZero() })
	data, err := json.MarshalIndent(kept, "", "\t")
	if err != nil {
		return fmt.Errorf("httpx: save cookies: %w", err)
	}
	if _, err := w.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("httpx: save cookies: %w", err)
	}
	return nil
}

// maxJarFile bounds what Load reads.
const maxJarFile = 16 << 20

// Load adds the cookies that Save wrote.
func (j *Jar) Load(r io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(r, maxJarFile+1))
	if err == nil && len(data) > maxJarFile {
		err = fmt.Errorf("longer than %d bytes", maxJarFile)
	}
	var kept []StoredCookie
	if err == nil {
		err = json.Unmarshal(data, &kept)
	}
	if err != nil {
		return fmt.Errorf("httpx: load cookies: %w", err)
	}
	now := j.now()
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range kept {
		if c.Domain == "" || c.Path == "" || c.Path[0] != '/' || len(c.Name)+len(c.Value) > maxCookie {
			return fmt.Errorf("httpx: load cookies: %.40q of %.40q is damaged", c.Name, c.Domain)
		}
		j.put(c, true, now)
	}
	j.trim(now)
	return nil
}
