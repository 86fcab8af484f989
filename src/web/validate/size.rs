//! Computes how many JSON values a body of a schema may have.

use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};

/// The number of values that a body may have in addition to the values of its schema, so that the schema
/// check can report them as errors.
const BASE: usize = 256;
/// The assumed number of values in a list without a maximum length, and in an object without known fields.
const OPEN: usize = 64;
/// The depth below which a schema is not followed, because it may be recursive.
const MAX_DEPTH: u32 = 8;

/// Returns the maximum number of values in a body of this schema: [`BASE`] plus twice the number that a valid body
/// is assumed to have. A body that is somewhat too large therefore gets an error that names the field.
pub(in crate::web) fn max_values(registry: &Registry, schema: &MetaSchemaRef) -> usize {
    BASE + 2 * needed(registry, schema, MAX_DEPTH)
}

fn needed(registry: &Registry, schema: &MetaSchemaRef, depth: u32) -> usize {
    let schema: &MetaSchema = match schema {
        MetaSchemaRef::Inline(schema) => schema,
        MetaSchemaRef::Reference(name) => match registry.schemas.get(name) {
            Some(schema) => schema,
            None => return OPEN,
        },
    };
    let Some(depth) = depth.checked_sub(1) else { return OPEN };
    let each = |schema: &MetaSchemaRef| needed(registry, schema, depth);
    let parts: usize = schema.all_of.iter().map(each).sum();
    let variant = schema.one_of.iter().map(each).max().unwrap_or_default();
    let items = schema.items.as_ref().map_or(0, |items| schema.max_items.unwrap_or(OPEN) * each(items));
    let is_open = schema.ty == "object" && schema.properties.is_empty() || *schema == MetaSchema::ANY;
    let open = if is_open { OPEN } else { 0 };
    let fields: usize = schema.properties.iter().map(|(_, schema)| each(schema)).sum();
    1 + parts + variant + items + open + fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use poem_openapi::Object;
    use poem_openapi::types::Type;

    #[derive(Debug, Object)]
    struct Item {
        name: String,
        #[oai(nullable)]
        note: Option<String>,
    }

    #[derive(Debug, Object)]
    struct Whole {
        title: String,
        #[oai(nullable, validator(max_items = 10))]
        items: Option<Vec<Item>>,
    }

    #[test]
    fn the_maximum_number_of_json_values_in_a_body_depends_on_its_schema() {
        //
        let mut registry = Registry::new();
        Whole::register(&mut registry);
        assert_eq!(max_values(&registry, &Whole::schema_ref()), 256 + 2 * (1 + 1 + 1 + 10 * 3));
    }
}
