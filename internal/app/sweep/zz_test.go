package sweep_test
import ("testing";"os";"net/http";"time";"strings")
func TestZZ(t *testing.T) {
	i := install(t, "")
	v := visit(t, i)
	admin := v.account("administrator")
	founder(t, i, admin.email, v.text("n"), admin.password)
	v.signIn(t, &admin)
	p := v.tour(t, admin, "schema")
	for range 5 {
	i.backendDies(t, v)
	begin := time.Now()
	last := 0
	for time.Since(begin) < 4*time.Second {
		r := mustRequest(t, http.MethodGet, v.url+"/v1/orgs/"+p.org+"/collections/"+p.kind+"/records/"+p.recordID, nil)
		r.Header.Set("Authorization", "Bearer "+p.owner.token)
		a := v.send(t, "x", r)
		if a.status != last { t.Log(time.Since(begin), a.status); last = a.status }
	}
	}
	_ = os.Stdout
	for line := range strings.Lines(string(i.log.bytes())) {
		if strings.Contains(line, "request failed") || strings.Contains(line, "status=50") || strings.Contains(line, "WARN") || strings.Contains(line, "ERROR") { t.Log(strings.TrimSpace(line)) }
	}
}
