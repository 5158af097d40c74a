//! Puts guards into the syntax tree of a template. The engine counts instructions, but one
//! instruction may copy, build or compare something large; so every operation that can is wrapped
//! in a filter of `guard.rs` or `operators.rs`. Their names cannot be written in a template.

use minijinja::machinery::ast::*;
use minijinja::machinery::Span;
use minijinja::value::ValueKind;
use minijinja::Value;

use super::for_else;

/// Looks at the size of a result and at the time.
pub const CHECK: &str = "\u{1}check";
/// The same for a new container, all the way down.
pub const MADE: &str = "\u{1}made";
/// What is assigned to an attribute of a namespace.
pub const ATTRIBUTE: &str = "\u{1}attribute";
pub const CONCAT: &str = "\u{1}concat";
/// `%` with a string on its left.
pub const PERCENT: &str = "\u{1}percent";

/// Filters whose result holds new containers.
const MAKERS: [&str; 9] =
    ["batch", "slice", "groupby", "zip", "chain", "items", "dictsort", "map", "list"];

pub fn guarded<'a>(template: &Stmt<'a>) -> Stmt<'a> {
    statement(template)
}

fn body<'a>(statements: &[Stmt<'a>]) -> Vec<Stmt<'a>> {
    statements.iter().map(statement).collect()
}

fn statement<'a>(stmt: &Stmt<'a>) -> Stmt<'a> {
    match stmt {
        Stmt::Template(s) => {
            Stmt::Template(Spanned::new(Template { children: body(&s.children) }, s.span()))
        }
        Stmt::EmitExpr(s) => {
            Stmt::EmitExpr(Spanned::new(EmitExpr { expr: emitted(&s.expr) }, s.span()))
        }
        // As an expression it passes the formatter, which counts.
        Stmt::EmitRaw(s) => {
            let expr = Expr::Const(Spanned::new(Const { value: Value::from(s.raw) }, s.span()));
            Stmt::EmitExpr(Spanned::new(EmitExpr { expr }, s.span()))
        }
        Stmt::ForLoop(s) => {
            let copy = ForLoop {
                target: plain(&s.target),
                iter: expression(&s.iter),
                filter_expr: s.filter_expr.as_ref().map(expression),
                recursive: s.recursive,
                body: body(&s.body),
                else_body: body(&s.else_body),
            };
            if for_else::needed(s) {
                for_else::rewritten(copy, s.span())
            } else {
                Stmt::ForLoop(Spanned::new(copy, s.span()))
            }
        }
        Stmt::IfCond(s) => Stmt::IfCond(Spanned::new(
            IfCond {
                expr: expression(&s.expr),
                true_body: body(&s.true_body),
                false_body: body(&s.false_body),
            },
            s.span(),
        )),
        Stmt::WithBlock(s) => {
            let assignments =
                s.assignments.iter().map(|(target, value)| (plain(target), expression(value)));
            let assignments = assignments.collect();
            Stmt::WithBlock(Spanned::new(WithBlock { assignments, body: body(&s.body) }, s.span()))
        }
        Stmt::Set(s) => {
            let value = expression(&s.expr);
            let into_namespace = matches!(s.target, Expr::GetAttr(_));
            let expr = if into_namespace { filtered(ATTRIBUTE, value, s.span()) } else { value };
            Stmt::Set(Spanned::new(Set { target: plain(&s.target), expr }, s.span()))
        }
        Stmt::SetBlock(s) => Stmt::SetBlock(Spanned::new(
            SetBlock {
                target: plain(&s.target),
                filter: s.filter.as_ref().map(expression),
                body: body(&s.body),
            },
            s.span(),
        )),
        Stmt::AutoEscape(s) => Stmt::AutoEscape(Spanned::new(
            AutoEscape { enabled: expression(&s.enabled), body: body(&s.body) },
            s.span(),
        )),
        Stmt::FilterBlock(s) => Stmt::FilterBlock(Spanned::new(
            FilterBlock { filter: expression(&s.filter), body: body(&s.body) },
            s.span(),
        )),
        Stmt::Macro(s) => Stmt::Macro(macro_declaration(s)),
        Stmt::CallBlock(s) => Stmt::CallBlock(Spanned::new(
            CallBlock { call: call(&s.call), macro_decl: macro_declaration(&s.macro_decl) },
            s.span(),
        )),
        Stmt::Do(s) => Stmt::Do(Spanned::new(Do { call: call(&s.call) }, s.span())),
        Stmt::Continue(s) => Stmt::Continue(Spanned::new(Continue, s.span())),
        Stmt::Break(s) => Stmt::Break(Spanned::new(Break, s.span())),
        Stmt::Block(_)
        | Stmt::Import(_)
        | Stmt::FromImport(_)
        | Stmt::Extends(_)
        | Stmt::Include(_) => other_templates(stmt),
    }
}

/// Statements about other templates, of which there are none: all but blocks fail when they run.
fn other_templates<'a>(stmt: &Stmt<'a>) -> Stmt<'a> {
    match stmt {
        Stmt::Block(s) => Stmt::Block(Spanned::new(
            Block { name: s.name, required: s.required, body: body(&s.body) },
            s.span(),
        )),
        Stmt::Import(s) => Stmt::Import(Spanned::new(
            Import { expr: expression(&s.expr), name: plain(&s.name) },
            s.span(),
        )),
        Stmt::FromImport(s) => {
            let names = s
                .names
                .iter()
                .map(|(name, alias)| (plain(name), alias.as_ref().map(plain)))
                .collect();
            Stmt::FromImport(Spanned::new(
                FromImport { expr: expression(&s.expr), names },
                s.span(),
            ))
        }
        Stmt::Extends(s) => {
            Stmt::Extends(Spanned::new(Extends { name: expression(&s.name) }, s.span()))
        }
        Stmt::Include(s) => Stmt::Include(Spanned::new(
            Include { name: expression(&s.name), ignore_missing: s.ignore_missing },
            s.span(),
        )),
        _ => unreachable!("only statements about other templates"),
    }
}

fn macro_declaration<'a>(s: &Spanned<Macro<'a>>) -> Spanned<Macro<'a>> {
    let args = s.args.iter().map(plain).collect();
    let defaults = s.defaults.iter().map(expression).collect();
    Spanned::new(Macro { name: s.name, args, defaults, body: body(&s.body) }, s.span())
}

/// A printed call keeps its form: `loop(...)`, `super()` and blocks are known by it.
fn emitted<'a>(expr: &Expr<'a>) -> Expr<'a> {
    match expr {
        Expr::Call(s) => Expr::Call(call(s)),
        _ => expression(expr),
    }
}

fn expression<'a>(expr: &Expr<'a>) -> Expr<'a> {
    let span = expr.span();
    let copy = plain(expr);
    match expr {
        Expr::List(s) if s.as_const().is_none() => filtered(MADE, copy, span),
        Expr::Tuple(s) if s.as_const().is_none() => filtered(MADE, copy, span),
        Expr::Map(s) if s.as_const().is_none() => filtered(MADE, copy, span),
        Expr::Filter(s) if MAKERS.contains(&s.name) => filtered(MADE, copy, span),
        Expr::Filter(_) | Expr::Slice(_) => filtered(CHECK, copy, span),
        Expr::Call(s) => match &s.expr {
            Expr::Var(name) if name.id == "dict" || name.id == "namespace" => {
                filtered(MADE, copy, span)
            }
            _ => filtered(CHECK, copy, span),
        },
        Expr::GetItem(s) if !is_constant(&s.subscript_expr) => filtered(CHECK, copy, span),
        Expr::BinOp(s) => match s.op {
            BinOpKind::Add | BinOpKind::Mul | BinOpKind::Pow => filtered(CHECK, copy, span),
            _ => copy,
        },
        _ => copy,
    }
}

/// The expression with its parts guarded, itself not.
fn plain<'a>(expr: &Expr<'a>) -> Expr<'a> {
    let optional = |part: &Option<Expr<'a>>| part.as_ref().map(expression);
    match expr {
        Expr::Var(s) => Expr::Var(Spanned::new(Var { id: s.id }, s.span())),
        Expr::Const(s) => Expr::Const(Spanned::new(Const { value: s.value.clone() }, s.span())),
        Expr::Slice(s) => Expr::Slice(Spanned::new(
            Slice {
                expr: expression(&s.expr),
                start: optional(&s.start),
                stop: optional(&s.stop),
                step: optional(&s.step),
            },
            s.span(),
        )),
        Expr::UnaryOp(s) => {
            let op = match s.op {
                UnaryOpKind::Not => UnaryOpKind::Not,
                UnaryOpKind::Neg => UnaryOpKind::Neg,
            };
            Expr::UnaryOp(Spanned::new(UnaryOp { op, expr: expression(&s.expr) }, s.span()))
        }
        Expr::BinOp(s) => binary(s),
        Expr::Compare(s) => {
            let ops = s
                .ops
                .iter()
                .map(|part| CompareOp { op: part.op, expr: operand(&part.expr) })
                .collect();
            Expr::Compare(Spanned::new(Compare { expr: operand(&s.expr), ops }, s.span()))
        }
        Expr::IfExpr(s) => Expr::IfExpr(Spanned::new(
            IfExpr {
                test_expr: expression(&s.test_expr),
                true_expr: expression(&s.true_expr),
                false_expr: optional(&s.false_expr),
            },
            s.span(),
        )),
        Expr::Filter(s) => Expr::Filter(Spanned::new(
            Filter { name: s.name, expr: optional(&s.expr), args: arguments(&s.args) },
            s.span(),
        )),
        Expr::Test(s) => Expr::Test(Spanned::new(
            Test { name: s.name, expr: expression(&s.expr), args: arguments(&s.args) },
            s.span(),
        )),
        Expr::GetAttr(s) => Expr::GetAttr(Spanned::new(
            GetAttr { expr: expression(&s.expr), name: s.name },
            s.span(),
        )),
        Expr::GetItem(s) => Expr::GetItem(Spanned::new(
            GetItem { expr: expression(&s.expr), subscript_expr: expression(&s.subscript_expr) },
            s.span(),
        )),
        Expr::Call(s) => Expr::Call(call(s)),
        Expr::List(s) => Expr::List(Spanned::new(List { items: expressions(&s.items) }, s.span())),
        Expr::Tuple(s) => {
            Expr::Tuple(Spanned::new(Tuple { items: expressions(&s.items) }, s.span()))
        }
        Expr::Map(s) => Expr::Map(Spanned::new(
            Map { keys: expressions(&s.keys), values: expressions(&s.values) },
            s.span(),
        )),
    }
}

fn binary<'a>(s: &Spanned<BinOp<'a>>) -> Expr<'a> {
    let span = s.span();
    let compares = matches!(
        s.op,
        BinOpKind::Eq
            | BinOpKind::Ne
            | BinOpKind::Lt
            | BinOpKind::Lte
            | BinOpKind::Gt
            | BinOpKind::Gte
            | BinOpKind::In
    );
    let part = if compares { operand } else { expression };
    let operation = BinOp { op: s.op, left: part(&s.left), right: part(&s.right) };
    match s.op {
        BinOpKind::Concat => with_argument(CONCAT, operation.left, operation.right, span),
        BinOpKind::Rem => match &s.left {
            Expr::Const(text) if text.value.kind() == ValueKind::String => {
                with_argument(PERCENT, operation.left, operation.right, span)
            }
            Expr::Var(_) => {
                let is_text = Test { name: "string", expr: plain(&s.left), args: vec![] };
                Expr::IfExpr(Spanned::new(
                    IfExpr {
                        test_expr: Expr::Test(Spanned::new(is_text, span)),
                        true_expr: with_argument(
                            PERCENT,
                            plain(&s.left),
                            expression(&s.right),
                            span,
                        ),
                        false_expr: Some(Expr::BinOp(Spanned::new(operation, span))),
                    },
                    span,
                ))
            }
            _ => Expr::BinOp(Spanned::new(operation, span)),
        },
        _ => Expr::BinOp(Spanned::new(operation, span)),
    }
}

/// An operand of a comparison, which takes time with its size.
fn operand<'a>(expr: &Expr<'a>) -> Expr<'a> {
    match expr {
        Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) => {
            filtered(CHECK, plain(expr), expr.span())
        }
        _ => expression(expr),
    }
}

fn is_constant(expr: &Expr) -> bool {
    matches!(expr, Expr::Const(_))
}

fn expressions<'a>(list: &[Expr<'a>]) -> Vec<Expr<'a>> {
    list.iter().map(expression).collect()
}

fn arguments<'a>(args: &[CallArg<'a>]) -> Vec<CallArg<'a>> {
    let copy = |arg: &CallArg<'a>| match arg {
        CallArg::Pos(expr) => CallArg::Pos(expression(expr)),
        CallArg::Kwarg(name, expr) => CallArg::Kwarg(name, expression(expr)),
        CallArg::PosSplat(expr) => CallArg::PosSplat(expression(expr)),
        CallArg::KwargSplat(expr) => CallArg::KwargSplat(expression(expr)),
    };
    args.iter().map(copy).collect()
}

fn call<'a>(s: &Spanned<Call<'a>>) -> Spanned<Call<'a>> {
    // The callee keeps its form: a method call is known by its attribute.
    Spanned::new(Call { expr: plain(&s.expr), args: arguments(&s.args) }, s.span())
}

fn filtered<'a>(name: &'static str, expr: Expr<'a>, span: Span) -> Expr<'a> {
    Expr::Filter(Spanned::new(Filter { name, expr: Some(expr), args: vec![] }, span))
}

fn with_argument<'a>(
    name: &'static str,
    expr: Expr<'a>,
    argument: Expr<'a>,
    span: Span,
) -> Expr<'a> {
    let args = vec![CallArg::Pos(argument)];
    Expr::Filter(Spanned::new(Filter { name, expr: Some(expr), args }, span))
}
