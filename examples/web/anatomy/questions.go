package main

import (
	_ "embed"
	"fmt"
	"io"
	"strings"
)

// The course's capture: what a browser sent to a server, and the beginning of
// what came back. The README says which characters were restored.
var (
	//go:embed testdata/request.http
	capturedRequest []byte
	//go:embed testdata/response.http
	capturedResponse []byte
)

// captured takes the two messages apart.
func captured() (request, response *message, err error) {
	if request, err = dissect(capturedRequest, 0, ""); err != nil {
		return nil, nil, err
	}
	response, err = dissect(capturedResponse, 0, request.method())
	return request, response, err
}

// answerQuestions prints the course's questions about the two messages, the
// answers, and where in the messages they stand.
func answerQuestions(w io.Writer, request, response *message) error {
	host, agent, wants := request.get("Host"), request.get("User-Agent"), request.get("Connection")
	date, changed, length := response.get("Date"), response.get("Last-Modified"), response.get("Content-Length")
	agrees, alive := response.get("Connection"), response.get("Keep-Alive")
	for _, f := range []*field{host, agent, wants, date, changed, length, agrees, alive} {
		if f == nil {
			return fmt.Errorf("a field that the questions are about is missing")
		}
	}
	idle := "an unknown time"
	for item := range strings.SplitSeq(alive.value, ",") {
		if seconds, ok := strings.CutPrefix(strings.TrimSpace(item), "timeout="); ok {
			idle = seconds + " s"
		}
	}
	target, version := request.words[1], request.words[2]
	status, reason := response.words[1], response.words[2]
	content := response.content()
	head := response.headEnd()

	say := func(question, answer string, where ...part) {
		fmt.Fprintf(w, "%s\n    %s", question, answer)
		for i, p := range where {
			lead := " (" + p.name + ", "
			if i > 0 {
				lead = "; " + p.name + ", "
			}
			fmt.Fprintf(w, "%sbytes %d–%d", lead, p.at, p.end()-1)
		}
		if len(where) > 0 {
			fmt.Fprint(w, ")")
		}
		fmt.Fprintln(w)
	}
	field := func(f *field) part { return part{"field " + f.key, f.at, f.text} }
	fmt.Fprintln(w, "The request")
	say("Which URL?", "http://"+host.value+string(target.text), field(host), target)
	say("Which version of HTTP?", string(version.text), version)
	say("A persistent connection?", "yes: "+wants.key+": "+wants.value+"; since HTTP/1.1 silence would mean the same", field(wants))
	say("The browser's IP address?", "not in the message: it is in the header of the IP packets that carry it")
	say("Which browser?", agent.value, field(agent))
	say("How many bytes?", fmt.Sprintf("%d, of which %d are user data: a GET has no body", request.end(), len(request.content())))
	fmt.Fprintln(w, "The response")
	say("Was the document found?", fmt.Sprintf("%s %s, sent %s", status.text, reason.text, date.value), status, field(date))
	say("When was it last changed?", changed.value, field(changed))
	say("How long is it?", fmt.Sprintf("%d bytes; the first five are %s", response.announce, content[:5]), field(length), part{"body", head, content[:5]})
	say("Is the connection kept?", agrees.value+", and closed when it has been idle for "+idle, field(agrees), field(alive))
	say("How many bytes?", fmt.Sprintf("%d of header and %d of user data: %d; the capture ends after %d", head, response.announce, head+response.announce, response.end()))
	return nil
}
