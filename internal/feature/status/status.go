// Package status tells whoever runs the installation how it stands.
//
// It holds nobody's data: counts, versions and the state of the key service
// and its zones. The same answer stands on the operator's socket.
package status

import (
	"context"
	"net/http"

	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/keyservice"
	"strongroom/internal/store/platform"
)

// Status is how an installation stands.
type Status struct {
	Version      string            `json:"version"`
	URL          string            `json:"url"`
	Ready        bool              `json:"ready"`
	Problem      string            `json:"problem,omitempty" doc:"Why it is not ready."`
	SpareSchemas int               `json:"spare_schemas" doc:"Schemas in stock for new organizations."`
	ChainBreaks  int64             `json:"audit_chain_breaks" doc:"Events that were taken out of, or put into, the rows that wait for their place in the log. 0 on a sound installation."`
	Keys         keyservice.Status `json:"keys"`
}

type out struct{ Body Status }

// Feature offers the status. look gathers it.
func Feature(look func(context.Context) (Status, error)) feature.Feature {
	return feature.Feature{Name: "status", Ops: []feature.Op{
		feature.HandlePlatform(feature.Meta{ID: "get-status", Method: http.MethodGet, Path: "/v1/status", Action: policy.StatusRead,
			Summary: "See how the installation stands"}, func(ctx context.Context, _ *platform.Tx, _ struct{}) (out, error) {
			s, err := look(ctx)
			return out{s}, err
		}),
	}}
}
