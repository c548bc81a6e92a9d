"""Neighbourhoods the slow, obvious way: loops over the rows of a small database."""

from collections import defaultdict

from models.rdl.graph import directions


class Neighbourhoods:
    """The visible neighbourhoods in a database given as dictionaries, row by row."""

    def __init__(self, schema, rows):
        self.schema, self.rows = schema, rows
        self.links = defaultdict(list)
        """Sources by (edge type, target row)."""
        for key in schema.foreign_keys:
            to_parent, to_child = directions(key)
            number = {
                tuple(row[part] for part in key.parent_columns): place
                for place, row in enumerate(rows[key.parent])
            }
            for child, row in enumerate(rows[key.table]):
                parent = number.get(tuple(row[part] for part in key.columns))
                if parent is not None:
                    self.links[to_parent, parent].append(child)
                    self.links[to_child, child].append(parent)
        self.edge_types = [edge for key in schema.foreign_keys for edge in directions(key)]

    def is_visible(self, table, row, visible):
        column = self.schema.table(table).time_column
        if column is None:
            return True
        time = self.rows[table][row][column]
        return time is not None and time <= visible

    def hops(self, seed, table, row, visible, count):
        """By hop: the nodes (seed, table, row) and the edges (seed, edge type, source, target)."""
        nodes, edges = [{(seed, table, row)}], []
        for _ in range(count):
            links = [
                (seed, edge, source, target)
                for _, kind, target in nodes[-1]
                for edge in self.edge_types
                if edge.target == kind
                for source in self.links[edge, target]
                if self.is_visible(edge.source, source, visible)
            ]
            edges.append(links)
            nodes.append({(seed, edge.source, source) for _, edge, source, _ in links})
        return nodes, edges


def sampled_hops(sample):
    """The nodes and edges of a sample by hop, sorted, in the form of `Neighbourhoods.hops`."""
    rows = {table: one.tolist() for table, one in sample.rows.items()}
    seeds = {table: one.tolist() for table, one in sample.seed_of.items()}
    hop_of = {table: by_hop(sizes) for table, sizes in sample.nodes_per_hop.items()}
    nodes = [[] for _ in range(sample.hops + 1)]
    edges = [[] for _ in range(sample.hops)]
    for table in rows:
        for row, seed, hop in zip(rows[table], seeds[table], hop_of[table], strict=True):
            nodes[hop].append((seed, table, row))
    for edge, links in sample.edges.items():
        into = by_hop(sample.edges_per_hop[edge])
        for source, target, hop in zip(*links.tolist(), into, strict=True):
            seed = seeds[edge.target][target]
            assert seeds[edge.source][source] == seed, "seeds share nothing"
            assert hop_of[edge.source][source] == hop + 1, "edges lead one hop towards the seed"
            assert hop_of[edge.target][target] == hop
            edges[hop].append((seed, edge, rows[edge.source][source], rows[edge.target][target]))
    return [sorted(hop) for hop in nodes], [sorted(hop) for hop in edges]


def by_hop(sizes):
    """The hop of each of so many nodes or edges."""
    return [hop for hop, size in enumerate(sizes) for _ in range(size)]
