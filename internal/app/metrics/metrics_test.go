package metrics

import (
	"context"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func show(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestEveryAnswerIsCountedUnderAWordOfTheProduct(t *testing.T) {
	t.Parallel()
	m := New(Options{Version: "1", Operations: []string{"get-record"}, Look: func(context.Context) Numbers { return Numbers{} }})
	m.Request("get-record", 200, 3*time.Millisecond)
	m.Request("get-record", 404, time.Millisecond)
	m.Request("get-record", 0, time.Millisecond)
	m.Request("get-record", 999, time.Millisecond)
	for range 100 {
		m.Request("rec_"+time.Now().String(), 200, time.Millisecond)
	}
	text := show(t, m)
	for _, want := range []string{`strongroom_requests_total{class="2xx",operation="get-record"} 1`, `strongroom_requests_total{class="4xx",operation="get-record"} 1`,
		`strongroom_requests_total{class="broken",operation="get-record"} 2`, `strongroom_requests_total{class="2xx",operation="other"} 100`,
		`strongroom_request_duration_seconds_count{operation="get-record"} 4`, `strongroom_build_info{go=`} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %s", want)
		}
	}
	if strings.Contains(text, "rec_") {
		t.Error("what a caller sent became a label")
	}
}

func TestManyWhoAskCostAsMuchAsOne(t *testing.T) {
	t.Parallel()
	var looks atomic.Int64
	m := New(Options{Look: func(context.Context) Numbers { looks.Add(1); return Numbers{Ready: true, KeysState: "something new"} }})
	for range 50 {
		show(t, m)
	}
	if n := looks.Load(); n != 1 {
		t.Errorf("%d looks", n)
	}
	if text := show(t, m); !strings.Contains(text, `strongroom_keys_state{state="unknown"} 1`) || strings.Contains(text, "something new") {
		t.Error("a state that is not known made a label of its own")
	}
}
