package mapreduce

import (
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func statusOf(t *testing.T, m *Master) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, http.StatusOK, w.Code)
	body := w.Body.String()
	if _, svg, ok := strings.Cut(body, "<svg"); ok { // the picture is well-formed
		svg, _, _ = strings.Cut("<svg"+svg, "</svg>")
		for d := xml.NewDecoder(strings.NewReader(svg + "</svg>")); ; {
			_, err := d.Token()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
		}
	}
	return body
}

func TestStatusPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, &Master{Splits: 3})
		require.Contains(t, statusOf(t, l.master), "No job yet")
		require.Contains(t, statusOf(t, l.master), "no worker is connected")
		text := someText(100)
		job := l.start(wordCount(), text)
		lost := l.join("berta", MapTask)
		l.waitFor("assign map 0 0 berta")
		l.worker(&Worker{Name: "<anna>", Kind: MapTask, Slow: time.Second})
		l.waitFor("done map 1")
		lost.Close()
		l.waitFor("failed map")
		body := statusOf(t, l.master)
		for _, want := range []string{
			"<h1>wordcount</h1>", "1 of 3 splits", "0 of 1 partitions", "&lt;anna&gt;", "running for 1s", "<td>map", `class="map failed"`, `class="map running"`,
		} {
			require.Contains(t, body, want)
		}
		require.NotContains(t, body, "<anna>")
		l.worker(&Worker{Name: "r", Kind: ReduceTask})
		require.NoError(t, (<-job).err)
		body = statusOf(t, l.master)
		for _, want := range []string{"3 of 3 splits", "1 of 1 partitions", "over after", "lines<td>100"} {
			require.Contains(t, body, want)
		}
		s := l.master.Stats()
		require.Equal(t, int64(len(text)), s.Bytes)
		require.Equal(t, s.Bytes, s.BytesMapped)
		require.Len(t, s.Workers, 2)

		w := httptest.NewRecorder()
		l.master.ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
		require.Equal(t, http.StatusMethodNotAllowed, w.Code)
	})
}
