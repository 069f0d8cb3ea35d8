package platform

import "context"

// MigrateWithoutBaseline is MigrateAll for the test that generates the
// baseline.
func (m *Migrator) MigrateWithoutBaseline(ctx context.Context) error {
	conn, err := connect(ctx, m.url, asOwner("pg_catalog"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := m.controlPlane(ctx); err != nil {
		return err
	}
	if err := m.jobs(ctx, conn); err != nil {
		return err
	}
	_, err = m.organizations(ctx, conn)
	return err
}
