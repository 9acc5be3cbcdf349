// SPDX-License-Identifier: Apache-2.0
// Types of the syntax tree of @huggingface/jinja's parser.

export type Node =
  | { type: 'Program'; body: Node[] }
  | { type: 'If'; test: Node; body: Node[]; alternate: Node[] }
  | { type: 'For'; loopvar: Node; iterable: Node; body: Node[]; defaultBlock: Node[] }
  | { type: 'Break' | 'Continue' | 'Comment' }
  | { type: 'Set'; assignee: Node; value: Node | null; body: Node[] }
  | { type: 'Macro'; name: { value: string }; args: Node[]; body: Node[] }
  | { type: 'CallStatement'; call: CallNode; callerArgs: Node[] | null; body: Node[] }
  | { type: 'FilterStatement'; filter: FilterNode; body: Node[] }
  | { type: 'IntegerLiteral' | 'FloatLiteral'; value: number }
  | { type: 'StringLiteral' | 'Identifier'; value: string }
  | { type: 'ArrayLiteral' | 'TupleLiteral'; value: Node[] }
  | { type: 'ObjectLiteral'; value: Map<Node, Node> }
  | MemberNode
  | CallNode
  | { type: 'BinaryExpression'; operator: { value: string }; left: Node; right: Node }
  | { type: 'UnaryExpression'; operator: { value: string }; argument: Node }
  | { type: 'FilterExpression'; operand: Node; filter: FilterNode }
  | { type: 'TestExpression'; operand: Node; negate: boolean; test: { value: string } }
  | { type: 'SelectExpression'; lhs: Node; test: Node }
  | { type: 'Ternary'; condition: Node; trueExpr: Node; falseExpr: Node }
  | SliceNode
  | { type: 'KeywordArgumentExpression'; key: { value: string }; value: Node }
  | { type: 'SpreadExpression' | 'KeywordSpreadExpression'; argument: Node };

export interface MemberNode {
  type: 'MemberExpression';
  object: Node;
  property: Node;
  computed: boolean;
}

export interface SliceNode {
  type: 'SliceExpression';
  start?: Node;
  stop?: Node;
  step?: Node;
}

export interface CallNode {
  type: 'CallExpression';
  callee: Node;
  args: Node[];
}

export type FilterNode = { type: 'Identifier'; value: string } | CallNode;
