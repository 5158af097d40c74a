//! `for ... else` as Jinja runs it: the else part is for loops in which no iteration came to its
//! end, which a `continue` or `break` prevents as well as an empty list.

use minijinja::machinery::ast::*;
use minijinja::machinery::Span;
use minijinja::Value;

/// Makes a namespace; a name that no template can write.
pub const NAMESPACE: &str = "\u{1}namespace";
const STATE: &str = "\u{1}state";
const ENDED: &str = "ended";

/// Whether the engine's own else part would differ.
pub fn needed(s: &ForLoop) -> bool {
    !s.else_body.is_empty() && leaves_early(&s.body)
}

/// The loop, whose parts are ready, with its else part after it under a condition.
pub fn rewritten<'a>(mut s: ForLoop<'a>, span: Span) -> Stmt<'a> {
    let else_body = std::mem::take(&mut s.else_body);
    let ended =
        || Expr::GetAttr(Spanned::new(GetAttr { expr: variable(STATE, span), name: ENDED }, span));
    let yes = Expr::Const(Spanned::new(Const { value: Value::from(true) }, span));
    s.body.push(Stmt::Set(Spanned::new(Set { target: ended(), expr: yes }, span)));
    let make = Call { expr: variable(NAMESPACE, span), args: vec![] };
    let not_ended = UnaryOp { op: UnaryOpKind::Not, expr: ended() };
    let condition = IfCond {
        expr: Expr::UnaryOp(Spanned::new(not_ended, span)),
        true_body: else_body,
        false_body: vec![],
    };
    let body =
        vec![Stmt::ForLoop(Spanned::new(s, span)), Stmt::IfCond(Spanned::new(condition, span))];
    let assignments = vec![(variable(STATE, span), Expr::Call(Spanned::new(make, span)))];
    Stmt::WithBlock(Spanned::new(WithBlock { assignments, body }, span))
}

fn variable<'a>(id: &'static str, span: Span) -> Expr<'a> {
    Expr::Var(Spanned::new(Var { id }, span))
}

fn leaves_early(body: &[Stmt]) -> bool {
    body.iter().any(|stmt| match stmt {
        Stmt::Continue(_) | Stmt::Break(_) => true,
        Stmt::IfCond(s) => leaves_early(&s.true_body) || leaves_early(&s.false_body),
        Stmt::WithBlock(s) => leaves_early(&s.body),
        _ => false,
    })
}
