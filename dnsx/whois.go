package dnsx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Whois asks registries who has registered a domain or an address [RFC 3912],
// and follows their referrals from the root of the registry tree down to the
// registrar. The zero Whois is ready to use.
//
// The protocol is one line there and a text back, in no format that anybody has
// laid down, in clear and from nobody in particular: what it says is a hint.
//
// [RFC 3912]: https://www.rfc-editor.org/rfc/rfc3912
type Whois struct {
	Server       string        // "host" or "host:port" to ask first; empty: whois.iana.org
	MaxReferrals int           // 0 means 5; negative, none
	MaxSize      int           // bytes of one answer; 0 means 256 KiB
	Timeout      time.Duration // for one server; 0 means 10 s

	// Dial connects to a server; nil means that of a zero [net.Dialer].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Errors of [Whois.Lookup].
var (
	ErrWhoisQuery  = errors.New("not a whois query")        // empty, too long, or not ASCII
	ErrWhoisSize   = errors.New("whois answer too long")    // over MaxSize
	ErrWhoisRefers = errors.New("too many whois referrals") // over MaxReferrals
)

// A WhoisReply is what one server said.
type WhoisReply struct {
	Server string // "host:port"
	Text   string // valid UTF-8, lines ending in \n
	Refer  string // whom it refers to, "host:port"; empty for nobody
}

// A WhoisRecord is what a chain of servers said, and the usual fields found in
// it. Where several servers speak about what was asked, the last one counts: it
// is nearest to the registration. What a server says about a domain or a network
// above it counts only if nobody says more.
type WhoisRecord struct {
	Query       string       // as asked
	Replies     []WhoisReply // in the order of asking
	Domain      string       // as the server writes it; of an address its network
	Registrar   string       // who sells and looks after it
	Holder      string       // the organisation that has registered it
	Created     time.Time    // the zero time if nobody says so in a form known here
	Updated     time.Time    // likewise
	Expires     time.Time    // likewise
	NameServers []string     // lower case, without the dot at the end
	Status      []string     // such as "clientTransferProhibited"
}

// maxWhoisQuery bounds a query, without its end of line.
const maxWhoisQuery = 255

// Lookup asks about a domain, an address or whatever else a server understands.
// Names that are not ASCII must be in A-labels: see [ParseName]. A record comes with the
// error if the first servers answered and a later one did not.
func (w *Whois) Lookup(ctx context.Context, query string) (*WhoisRecord, error) {
	query = strings.TrimSpace(query)
	if query == "" || len(query) > maxWhoisQuery || strings.ContainsFunc(query, func(r rune) bool { return r < ' ' || r > '~' }) {
		return nil, fmt.Errorf("dnsx: %.80q: %w", query, ErrWhoisQuery)
	}
	server := w.Server
	if server == "" {
		server = "whois.iana.org"
	}
	server, err := whoisServer(server)
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(server)
	most := w.MaxReferrals
	if most == 0 {
		most = 5
	}
	record := &WhoisRecord{Query: query}
	for asked := []string{}; ; {
		text, err := w.ask(ctx, server, query)
		if err != nil {
			return record, err
		}
		refer := record.add(text)
		// Nobody shall make us write to a mail server.
		if _, p, _ := net.SplitHostPort(refer); p != "43" && p != port {
			refer = ""
		}
		record.Replies = append(record.Replies, WhoisReply{Server: server, Text: text, Refer: refer})
		asked = append(asked, server)
		// Many registrars refer to themselves.
		if refer == "" || slices.Contains(asked, refer) || most < 0 {
			return record, nil
		}
		if len(asked) > most {
			return record, fmt.Errorf("dnsx: whois %s: %s refers to %s: %w", query, server, refer, ErrWhoisRefers)
		}
		server = refer
	}
}

// ask asks one server.
func (w *Whois) ask(ctx context.Context, server, query string) (text string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("dnsx: whois %s at %s: %w", query, server, err)
		}
	}()
	timeout := w.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	dial := w.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "tcp", server)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	// A deadline in the past wakes a read that is blocked.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	size := w.MaxSize
	if size == 0 {
		size = 256 << 10
	}
	var answer []byte
	if _, err = io.WriteString(conn, query+"\r\n"); err == nil {
		answer, err = io.ReadAll(io.LimitReader(conn, int64(size)+1))
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return "", err
	}
	if len(answer) > size {
		return "", fmt.Errorf("%w: over %d bytes", ErrWhoisSize, size)
	}
	text = strings.ToValidUTF8(string(answer), "\uFFFD") // older registries send Latin-1
	return strings.ReplaceAll(text, "\r\n", "\n"), nil
}

// whoisServer returns the "host:port" in what a user or a referral says.
func whoisServer(s string) (string, error) {
	text := strings.TrimSpace(s)
	if scheme, rest, ok := strings.Cut(text, "://"); ok {
		if !strings.EqualFold(scheme, "whois") { // rwhois and http are other protocols
			return "", fmt.Errorf("dnsx: %.80q is no whois server", s)
		}
		text = strings.TrimRight(rest, "/")
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = strings.Trim(text, "[]"), "43"
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("dnsx: whois server %.80q: %q is no port", s, port)
	}
	if _, err := netip.ParseAddr(host); err != nil {
		if host, err = mailName(host); err != nil {
			return "", fmt.Errorf("dnsx: whois server %.80q: %w", s, err)
		}
		host = strings.TrimSuffix(host, ".")
	}
	return net.JoinHostPort(host, port), nil
}

// add takes the fields of a server's text into the record and returns whom it
// refers to.
func (r *WhoisRecord) add(text string) (refer string) {
	fresh, refer := parseWhois(text)
	about := func(domain string) bool { return strings.EqualFold(strings.TrimSuffix(r.Query, "."), domain) }
	if about(r.Domain) && (fresh.Domain == "" || about(fresh.Domain)) {
		fresh.Registrar = cmp.Or(fresh.Registrar, r.Registrar)
		fresh.Holder = cmp.Or(fresh.Holder, r.Holder)
		fresh.Created = cmp.Or(fresh.Created, r.Created)
		fresh.Updated = cmp.Or(fresh.Updated, r.Updated)
		fresh.Expires = cmp.Or(fresh.Expires, r.Expires)
		fresh.Domain = cmp.Or(fresh.Domain, r.Domain)
		if fresh.NameServers == nil {
			fresh.NameServers = r.NameServers
		}
		if fresh.Status == nil {
			fresh.Status = r.Status
		}
	}
	fresh.Query, fresh.Replies = r.Query, r.Replies
	*r = fresh
	return refer
}

// parseWhois finds the usual fields of a text, and whom it refers to. Fields are
// "key: value"; some registries put the value on the next line, which is not
// looked at.
func parseWhois(text string) (r WhoisRecord, refer string) {
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !ok || value == "" {
			continue
		}
		// ">>> Last update of whois database" and remarks are no fields.
		switch key = strings.ToLower(strings.TrimSpace(key)); key {
		case "refer", "whois", "whois server", "registrar whois server", "referralserver":
			if server, err := whoisServer(value); err == nil {
				refer = server
			}
		case "domain", "domain name", "inetnum", "inet6num", "netrange", "cidr":
			r.Domain = value
		case "registrar", "registrar name", "sponsoring registrar":
			r.Registrar = value
		case "organisation", "organization", "orgname", "org-name", "registrant", "registrant organization":
			r.Holder = value
		case "creation date", "created", "created on", "registered on", "registered", "regdate", "registration time":
			setDate(&r.Created, value)
		case "updated date", "updated", "changed", "last-update", "last updated", "last-modified", "last modified":
			setDate(&r.Updated, value)
		case "registry expiry date", "registrar registration expiration date", "expires", "expiry date",
			"expiration date", "expire", "paid-till", "expiration time", "expires on":
			setDate(&r.Expires, value)
		case "name server", "nserver", "nameserver", "name servers":
			r.NameServers = appendNew(r.NameServers, strings.TrimSuffix(strings.ToLower(strings.Fields(value)[0]), "."))
		case "domain status", "status", "state", "eppstatus":
			r.Status = appendNew(r.Status, strings.Fields(value)[0]) // a link to an explanation may follow
		}
	}
	return r, refer
}

// maxValues bounds the values of a field that may stand several times.
const maxValues = 100

func appendNew(list []string, value string) []string {
	if slices.Contains(list, value) || len(list) >= maxValues {
		return list
	}
	return append(list, value)
}

// setDate sets a date, if text starts with one in a form known here.
func setDate(date *time.Time, text string) {
	for _, layout := range []string{
		time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05", "2006-01-02 15:04:05", time.DateOnly,
		"2006.01.02 15:04:05", "2006.01.02", "2006/01/02", "20060102", "02.01.2006 15:04:05", "02.01.2006", "02-Jan-2006", "02/01/2006",
	} {
		// What follows the date, such as a zone's name, is left away. RFC 3339's
		// forms are of no fixed length: they are the whole text.
		part := text
		if !strings.Contains(layout, "Z07") {
			part = text[:min(len(layout), len(text))]
		}
		if t, err := time.Parse(layout, part); err == nil {
			*date = t.UTC()
			return
		}
	}
}
