package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/zocalo-go/zocalo/dnsx"
)

// printMessage prints a message as dig does.
func printMessage(w io.Writer, m *dnsx.Message) {
	additional := len(m.Additional)
	if m.EDNS != nil {
		additional++ // the OPT record counts
	}
	fmt.Fprintf(w, ";; ->>HEADER<<- opcode: %s, status: %s, id: %d\n", m.Opcode, m.Rcode, m.ID)
	fmt.Fprintf(w, ";; flags:%s; QUERY: %d, ANSWER: %d, AUTHORITY: %d, ADDITIONAL: %d\n",
		flagWords(m.Header), len(m.Questions), len(m.Answer), len(m.Authority), additional)
	if e := m.EDNS; e != nil {
		do := ""
		if e.DNSSECOK {
			do = " do"
		}
		fmt.Fprintf(w, "\n;; OPT PSEUDOSECTION:\n; EDNS: version: %d, flags:%s; udp: %d\n", e.Version, do, e.UDPSize)
	}
	fmt.Fprintf(w, "\n;; QUESTION SECTION:\n")
	for _, q := range m.Questions {
		fmt.Fprintf(w, ";%s\t\t%s\t%s\n", q.Name, className(q.Class), q.Type)
	}
	for _, section := range []struct {
		name    string
		records []dnsx.Record
	}{{"ANSWER", m.Answer}, {"AUTHORITY", m.Authority}, {"ADDITIONAL", m.Additional}} {
		if len(section.records) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n;; %s SECTION:\n", section.name)
		for _, r := range section.records {
			fmt.Fprintln(w, r)
		}
	}
	fmt.Fprintln(w)
}

// flagWords lists the flags that are set.
func flagWords(h dnsx.Header) string {
	var b strings.Builder
	for _, f := range []struct {
		set  bool
		word string
	}{
		{h.Response, "qr"},
		{h.Authoritative, "aa"},
		{h.Truncated, "tc"},
		{h.RecursionDesired, "rd"},
		{h.RecursionAvailable, "ra"},
		{h.AuthenticData, "ad"},
		{h.CheckingDisabled, "cd"},
	} {
		if f.set {
			b.WriteString(" " + f.word)
		}
	}
	return b.String()
}

func className(class uint16) string {
	switch class {
	case 1:
		return "IN"
	case 3:
		return "CH"
	case 255:
		return "ANY"
	}
	return fmt.Sprintf("CLASS%d", class)
}
